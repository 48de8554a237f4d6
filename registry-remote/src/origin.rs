//! Where the far end is, and which addresses that it names are still the far end.

use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Scheme, host and port of the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
}

/// Why a text names no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no registry; write http://host:port or https://host, without path, query or credentials"
)]
pub struct InvalidOrigin(pub(crate) String);

impl std::str::FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidOrigin(text.to_owned());
        let parts = text.parse::<Uri>().map_err(|_| invalid())?.into_parts();
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if (scheme == Scheme::HTTP || scheme == Scheme::HTTPS)
                    && matches!(path, "" | "/")
                    && !authority.as_str().contains('@') =>
            {
                Ok(Origin { scheme, authority })
            }
            _ => Err(invalid()),
        }
    }
}

impl Origin {
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether only this machine can listen in.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self
            .authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The address of `target`, a path and perhaps a query, at this origin.
    pub(crate) fn at(&self, target: &str) -> Option<Uri> {
        let builder = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone());
        builder
            .path_and_query(target)
            .build()
            .ok()
            .filter(|_| target.starts_with('/'))
    }

    fn port(scheme: &Scheme, authority: &Authority) -> u16 {
        authority
            .port_u16()
            .unwrap_or(if *scheme == Scheme::HTTPS { 443 } else { 80 })
    }

    /// Whether `uri` is at this origin (RFC 6454: same scheme, host and port).
    pub(crate) fn covers(&self, uri: &Uri) -> bool {
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) => {
                *scheme == self.scheme
                    && authority.host().eq_ignore_ascii_case(self.authority.host())
                    && Self::port(scheme, authority) == Self::port(&self.scheme, &self.authority)
            }
            _ => false,
        }
    }

    /// The path and query of a `Location`, if it is at this origin. A bare path is.
    pub(crate) fn own_target(&self, location: &str) -> Option<String> {
        let uri = match location.starts_with('/') && !location.starts_with("//") {
            true => self.at(location)?,
            false => location.parse().ok()?,
        };
        self.covers(&uri)
            .then(|| uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned())
    }

    /// Where a redirect from `from` leads: by the same scheme, and nowhere that names credentials.
    pub(crate) fn redirected(&self, from: &Uri, location: &str) -> Option<Uri> {
        let uri: Uri = match location.starts_with('/') && !location.starts_with("//") {
            true => {
                let mut parts = from.clone().into_parts();
                parts.path_and_query = Some(location.parse().ok()?);
                Uri::from_parts(parts).ok()?
            }
            false => location.parse().ok()?,
        };
        let plain = uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'));
        (plain && uri.scheme() == Some(&self.scheme)).then_some(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        for good in [
            "http://127.0.0.1:5000",
            "https://registry.example",
            "http://[::1]:80/",
        ] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "registry.example",
            "ftp://a",
            "http://user:secret@a",
            "http://a/b",
            "http://a/?b",
            "/v2/",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        assert!(origin("http://[::1]:5000").is_loopback() && !origin("http://10.0.0.1").is_loopback());
    }

    #[test]
    fn a_location_elsewhere_is_not_followed() {
        let origin = origin("http://registry.example");
        let own = |location: &str| origin.own_target(location);
        assert_eq!(
            own("/v2/a/blobs/uploads/1?x=y").as_deref(),
            Some("/v2/a/blobs/uploads/1?x=y")
        );
        assert_eq!(own("http://REGISTRY.example:80/v2/").as_deref(), Some("/v2/"));
        for elsewhere in [
            "https://registry.example/v2/",
            "http://registry.example:81/v2/",
            "http://registry.example.evil/v2/",
            "//evil.example/v2/",
            "http://evil.example/v2/",
            "v2/",
            "",
        ] {
            assert_eq!(own(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_redirect_keeps_the_scheme() {
        let origin = origin("https://registry.example");
        let from = origin.at("/v2/a").unwrap();
        let to = |location: &str| origin.redirected(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("/b?c").as_deref(), Some("https://registry.example/b?c"));
        assert_eq!(
            to("https://bucket.example/b").as_deref(),
            Some("https://bucket.example/b")
        );
        for refused in [
            "http://registry.example/b",
            "file:///etc/passwd",
            "https://user@bucket.example/b",
            "b",
            "//x/y",
        ] {
            assert_eq!(to(refused), None, "{refused}");
        }
    }
}
