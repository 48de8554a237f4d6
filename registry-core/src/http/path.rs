//! Which resource a path names, and the names in it.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::quoted;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::UploadId;

/// Names every kind of resource once, with the template of its path and the methods that it knows.
macro_rules! resources {
    ($($resource:ident = $template:literal: $($method:ident)+,)*) => {
        /// The kinds of resource that the protocol knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Resource {
            $(#[doc = $template] $resource,)*
        }

        impl Resource {
            const ALL: &'static [(Resource, &'static str)] = &[$((Resource::$resource, $template),)*];

            /// The methods that this kind of resource knows.
            pub(super) fn methods(self) -> &'static [Method] {
                match self { $(Resource::$resource => &[$(Method::$method,)+],)* }
            }
        }
    };
}

resources! {
    Base = "/v2/": GET HEAD,
    Catalog = "/v2/_catalog": GET HEAD,
    Tags = "/v2/{name}/tags/list": GET HEAD,
    Blob = "/v2/{name}/blobs/{digest}": GET HEAD DELETE,
    Uploads = "/v2/{name}/blobs/uploads/": POST,
    Upload = "/v2/{name}/blobs/uploads/{id}": GET HEAD PATCH PUT DELETE,
    Manifest = "/v2/{name}/manifests/{reference}": GET HEAD PUT DELETE,
    Referrers = "/v2/{name}/referrers/{digest}": GET HEAD,
}

/// Every path of the protocol, as templates, with every method that it knows.
///
/// ```
/// use http::Method;
/// let routes: Vec<_> = registry_core::http::routes().collect();
/// assert!(routes.contains(&(Method::GET, "/v2/{name}/tags/list")));
/// ```
pub fn routes() -> impl Iterator<Item = (Method, &'static str)> {
    let all = Resource::ALL.iter();
    all.flat_map(|(resource, template)| resource.methods().iter().map(|it| (it.clone(), *template)))
}

/// A path taken apart; `name` and `last` are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) resource: Resource,
    pub(super) name: &'a str,
    pub(super) last: &'a str,
}

/// Takes a path apart from its end, since a repository may be called `tags` or `blobs/uploads`. `None` for what is no
/// path of the protocol.
pub(super) fn route(path: &str) -> Option<Route<'_>> {
    let of = |resource, name, last| Some(Route { resource, name, last });
    let rest = match path.strip_prefix("/v2")? {
        "" | "/" => return of(Resource::Base, "", ""),
        rest => rest.strip_prefix('/')?,
    };
    if rest == "_catalog" {
        return of(Resource::Catalog, "", "");
    }
    let (head, last) = rest.rsplit_once('/')?;
    if let Some((name, marker)) = head.rsplit_once('/') {
        match (marker, last) {
            ("tags", "list") => return of(Resource::Tags, name, ""),
            ("blobs", "uploads") => return of(Resource::Uploads, name, ""),
            ("uploads", _) => match (name.strip_suffix("/blobs"), last) {
                (Some(name), "") => return of(Resource::Uploads, name, ""),
                (Some(name), id) => return of(Resource::Upload, name, id),
                (None, _) => {}
            },
            ("blobs", _) => return of(Resource::Blob, name, last),
            ("manifests", _) => return of(Resource::Manifest, name, last),
            ("referrers", _) => return of(Resource::Referrers, name, last),
            _ => {}
        }
    }
    // What follows a marker has slashes in it, so it names nothing; the refusal should still say what is wrong with it.
    [
        ("/blobs/uploads/", Resource::Upload),
        ("/blobs/", Resource::Blob),
        ("/manifests/", Resource::Manifest),
        ("/referrers/", Resource::Referrers),
    ]
    .into_iter()
    .find_map(|(marker, resource)| {
        let at = rest.rfind(marker)?;
        of(resource, &rest[..at], &rest[at + marker.len()..])
    })
}

/// Decodes one path segment, once. What was no text becomes U+FFFD, which no name contains.
fn decode(segment: &str) -> Cow<'_, str> {
    match is_encoded(segment) {
        true => percent_decode_str(segment).decode_utf8_lossy(),
        false => Cow::Borrowed(segment),
    }
}

/// Nearly nothing is: to look for that alone takes a tenth of what decoding does.
fn is_encoded(text: &str) -> bool {
    text.as_bytes().contains(&b'%')
}

pub(super) fn repository(raw: &str) -> Result<RepositoryName> {
    if !is_encoded(raw) {
        return repository_name(raw);
    }
    // Decoded by segment: `a%2Fb` is one segment with a slash in it, and not the repository a/b.
    let segments: Vec<Cow<'_, str>> = raw.split('/').map(decode).collect();
    if segments.iter().any(|segment| segment.contains('/')) {
        return Err(invalid_repository(
            raw,
            "a slash in it is written as it is, not encoded",
        ));
    }
    repository_name(&segments.join("/"))
}

/// Reads a repository's name that is already decoded.
pub(super) fn repository_name(name: &str) -> Result<RepositoryName> {
    name.parse().map_err(|why| invalid_repository(name, why))
}

fn invalid_repository(name: &str, why: impl std::fmt::Display) -> Error {
    invalid(ErrorKind::NameInvalid, "repository name", name, why)
}

pub(super) fn digest(raw: &str) -> Result<Digest> {
    digest_text(&decode(raw))
}

/// Reads a digest that is already decoded.
pub(super) fn digest_text(text: &str) -> Result<Digest> {
    text.parse()
        .map_err(|why| invalid(ErrorKind::DigestInvalid, "digest", text, why))
}

/// Reads a tag that is already decoded.
pub(super) fn tag_text(text: &str) -> Result<Tag> {
    text.parse()
        .map_err(|why| invalid(ErrorKind::TagInvalid, "tag", text, why))
}

pub(super) fn reference(raw: &str) -> Result<Reference> {
    let text = decode(raw);
    // No tag holds a colon, and every digest does.
    if text.contains(':') {
        digest_text(&text).map(Reference::Digest)
    } else {
        tag_text(&text).map(Reference::Tag)
    }
}

pub(super) fn upload(raw: &str) -> Result<UploadId> {
    let text = decode(raw);
    text.parse()
        .map_err(|why| invalid(ErrorKind::UploadUnknown, "upload", &text, why))
}

fn invalid(kind: ErrorKind, what: &str, text: &str, why: impl std::fmt::Display) -> Error {
    Error::new(kind, format!("invalid {what} {}: {why}", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Option<(Resource, &str, &str)> {
        route(path).map(|route| (route.resource, route.name, route.last))
    }

    #[test]
    fn repositories_may_be_called_like_the_protocols_own_words() {
        for (path, expected) in [
            ("/v2", (Resource::Base, "", "")),
            ("/v2/", (Resource::Base, "", "")),
            ("/v2/_catalog", (Resource::Catalog, "", "")),
            ("/v2/a/tags/list", (Resource::Tags, "a", "")),
            ("/v2/tags/list/tags/list", (Resource::Tags, "tags/list", "")),
            (
                "/v2/manifests/manifests/x",
                (Resource::Manifest, "manifests", "x"),
            ),
            (
                "/v2/blobs/uploads/blobs/uploads/",
                (Resource::Uploads, "blobs/uploads", ""),
            ),
            (
                "/v2/blobs/uploads/blobs/uploads",
                (Resource::Uploads, "blobs/uploads", ""),
            ),
            ("/v2/blobs/blobs/uploads/1", (Resource::Upload, "blobs", "1")),
            ("/v2/a/b/referrers/d", (Resource::Referrers, "a/b", "d")),
            ("/v2/a/uploads/blobs/d", (Resource::Blob, "a/uploads", "d")),
        ] {
            assert_eq!(parts(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_path_made_by_a_template_names_what_the_template_is_of() {
        for (resource, template) in Resource::ALL {
            let path = template.replace(['{', '}'], "");
            assert_eq!(
                route(&path).map(|route| route.resource),
                Some(*resource),
                "{template}"
            );
        }
    }

    #[test]
    fn other_paths_are_no_routes() {
        for path in [
            "",
            "/",
            "*",
            "/v1/",
            "/v22/",
            "/v2x/_catalog",
            "/v2/_catalog/",
            "/v2/a",
            "/v2/manifests/latest",
            "/v2/tags/list",
            "/v2/a/tags",
            "/v2/a/tags/list/",
            "/v2/_oci/ext/discover",
            "/v2/../../etc/passwd",
        ] {
            assert_eq!(parts(path), None, "{path}");
        }
    }

    #[test]
    fn a_slash_after_the_marker_belongs_to_what_is_refused() {
        assert_eq!(
            parts("/v2/a/blobs/sha256:../../etc/passwd"),
            Some((Resource::Blob, "a", "sha256:../../etc/passwd"))
        );
        assert_eq!(
            parts("/v2/a/manifests/../x/y"),
            Some((Resource::Manifest, "a", "../x/y"))
        );
        assert_eq!(
            parts("/v2/a/blobs/uploads/../x"),
            Some((Resource::Upload, "a", "../x"))
        );
    }
}
