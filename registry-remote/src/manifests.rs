//! Manifests and tags: end-3, end-7, end-9.

use http::header::{ACCEPT, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, Method};
use registry_core::error::{manifest_unknown, name_unknown};
use registry_core::manifest::{self, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, SIZE_MAX};
use registry_core::{
    Algorithm, Children, Context, Digest, Error, ErrorKind, Expect, Manifest, ManifestInfo, PutManifest,
    PutOutcome, Reference, RepositoryName, Result, Tag,
};

use crate::answer::{content_digest, content_length, media_type};
use crate::body::Outgoing;
use crate::wire::{Wire, misbehaved, text};

const OCI_SUBJECT: &str = "oci-subject";
const OCI_TAG: &str = "oci-tag";

fn target(repository: &RepositoryName, reference: &Reference) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// Some registries rewrite a manifest for a client that does not say that it takes it.
fn accept() -> String {
    [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, "*/*"].join(", ")
}

/// The digest that content asked for by `reference` must have, as far as the answer's head tells.
fn digest(headers: &HeaderMap, reference: &Reference) -> Result<Option<Digest>> {
    match (content_digest(headers)?, reference) {
        (Some(said), Reference::Digest(asked)) if said.algorithm() == asked.algorithm() && said != *asked => {
            Err(misbehaved(format_args!("it has {said} for {asked}")))
        }
        (_, Reference::Digest(asked)) => Ok(Some(*asked)),
        (said, Reference::Tag(_)) => Ok(said),
    }
}

pub(crate) async fn stat(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<ManifestInfo> {
    let accept = accept();
    let answer = wire
        .fetch(
            ctx,
            Method::HEAD,
            &target(repository, reference),
            &[(ACCEPT, &accept)],
        )
        .await?;
    let answer = wire
        .expect(answer, &[200], || manifest_unknown(reference))
        .await?;
    let headers = answer.headers();
    match (
        digest(headers, reference)?,
        media_type(headers),
        content_length(headers),
    ) {
        (Some(digest), Some(media_type), Some(size)) => Ok(ManifestInfo {
            digest,
            media_type,
            size,
        }),
        // Older registries leave some of it out.
        _ => Ok(get(wire, ctx, repository, reference).await?.info),
    }
}

pub(crate) async fn get(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Manifest> {
    let accept = accept();
    let answer = wire
        .fetch(
            ctx,
            Method::GET,
            &target(repository, reference),
            &[(ACCEPT, &accept)],
        )
        .await?;
    let answer = wire
        .expect(answer, &[200], || manifest_unknown(reference))
        .await?;
    let said = digest(answer.headers(), reference)?;
    let media_type =
        media_type(answer.headers()).ok_or_else(|| misbehaved("a manifest has no Content-Type"))?;
    let bytes = wire.whole(answer, SIZE_MAX).await?;
    let actual = Digest::of(said.map_or(Algorithm::Sha256, |said| said.algorithm()), &bytes);
    if said.is_some_and(|said| said != actual) {
        return Err(misbehaved(format_args!(
            "the manifest {reference} that it sent has the digest {actual}"
        )));
    }
    let info = ManifestInfo {
        digest: actual,
        media_type,
        size: bytes.len() as u64,
    };
    Ok(Manifest { info, bytes })
}

fn cannot_say(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("a remote registry cannot be told {what}"),
    )
}

pub(crate) async fn put(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    put: PutManifest,
) -> Result<PutOutcome> {
    if !put.options.charge.is_empty() {
        return Err(cannot_say("what to charge a manifest to"));
    }
    if put.options.children == Children::Deferred {
        return Err(cannot_say("to take a manifest before its children (deferred)"));
    }
    // Nothing longer is read either; and a far end that refuses it from its head may be heard by nobody who still sends.
    if put.bytes.len() > SIZE_MAX {
        return Err(manifest::too_large());
    }
    let algorithm = put.digest.map_or(Algorithm::Sha256, |digest| digest.algorithm());
    let digest = Digest::of(algorithm, &put.bytes);
    if let Some(named) = put.digest.filter(|named| *named != digest) {
        return Err(Error::new(
            ErrorKind::DigestInvalid,
            format!("the content's digest is {digest}, not {named}"),
        ));
    }
    let parameters = match put.tags.as_slice() {
        [_] if algorithm == Algorithm::Sha256 => false,
        tags => !tags.is_empty(),
    };
    let target = match put.tags.first() {
        Some(tag) if !parameters => target(repository, &Reference::Tag(tag.clone())),
        _ => {
            let tags: Vec<String> = put.tags.iter().map(|tag| format!("tag={tag}")).collect();
            let query = if tags.is_empty() {
                String::new()
            } else {
                format!("?{}", tags.join("&"))
            };
            target(repository, &Reference::Digest(digest)) + &query
        }
    };
    let condition = match put.options.expect {
        // Conditions are on tags.
        _ if put.tags.is_empty() => None,
        Expect::Any => None,
        Expect::Absent => Some((IF_NONE_MATCH, "*".to_owned())),
        Expect::At(digest) => Some((IF_MATCH, format!("\"{digest}\""))),
    };
    let mut headers: Vec<(HeaderName, &str)> = Vec::new();
    headers.extend(
        put.media_type
            .as_deref()
            .map(|media_type| (CONTENT_TYPE, media_type)),
    );
    headers.extend(
        condition
            .as_ref()
            .map(|(name, value)| (name.clone(), value.as_str())),
    );

    let answer = wire
        .send(ctx, Method::PUT, &target, &headers, Outgoing::bytes(put.bytes))
        .await?;
    let answer = wire.expect(answer, &[201], || name_unknown(repository)).await?;
    let headers = answer.headers();
    if let Some(other) = content_digest(headers)?.filter(|other| *other != digest) {
        return Err(misbehaved(format_args!(
            "it stored the manifest {digest} as {other}"
        )));
    }
    if parameters {
        let set = tags_set(headers);
        if let Some(missing) = put.tags.iter().find(|tag| !set.contains(tag)) {
            return Err(cannot_say(&format!(
                "tags along with a digest: it stored the manifest but not the tag {missing}"
            )));
        }
    }
    let subject = text(headers, OCI_SUBJECT)
        .map(|subject| {
            subject
                .parse()
                .map_err(|why| misbehaved("its OCI-Subject is no digest").with_source(why))
        })
        .transpose()?;
    Ok(PutOutcome {
        digest,
        subject,
        tags: put.tags,
    })
}

/// The tags that the far end says it has set.
fn tags_set(headers: &HeaderMap) -> Vec<Tag> {
    let lists = headers
        .get_all(OCI_TAG)
        .iter()
        .filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .filter_map(|tag| tag.trim().parse().ok())
        .collect()
}

pub(crate) async fn delete(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<()> {
    let target = target(repository, reference);
    let answer = wire
        .send(ctx, Method::DELETE, &target, &[], Outgoing::bytes(""))
        .await?;
    wire.expect(answer, &[202, 200, 204], || manifest_unknown(reference))
        .await?;
    Ok(())
}
