//! Lists: end-8, end-12, and the catalog.

use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use registry_core::auth::Visible;
use registry_core::error::name_unknown;
use registry_core::{Context, Descriptor, Digest, Error, ErrorKind, Page, RepositoryName, Result, Tag};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::answer::has_next;
use crate::wire::{Wire, misbehaved};

/// What stands in a query as it is (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<RepositoryName>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// One page as the far end gives it, and whether it says that there is more.
async fn page<T: DeserializeOwned>(
    wire: &Wire,
    ctx: &Context,
    path: &str,
    after: Option<&str>,
    limit: usize,
    absent: impl FnOnce() -> Error,
) -> Result<(T, HeaderMap)> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut target = format!("{path}{separator}n={limit}");
    if let Some(after) = after {
        target += &format!("&last={}", utf8_percent_encode(after, UNRESERVED));
    }
    let answer = wire.fetch(ctx, Method::GET, &target, &[]).await?;
    let answer = wire.expect(answer, &[200], absent).await?;
    let headers = answer.headers().clone();
    Ok((wire.document(answer).await?, headers))
}

/// A far end that gives more than was asked for has more.
fn cut<T>(mut items: Vec<T>, more: bool, limit: usize) -> Page<T> {
    let more = more || items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

pub(crate) async fn tags(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Tag>> {
    let path = format!("/v2/{repository}/tags/list");
    let (Tags { tags }, headers) = page(wire, ctx, &path, after, limit, || name_unknown(repository)).await?;
    Ok(cut(tags.unwrap_or_default(), has_next(&headers), limit))
}

/// Shows what both the far end shows to these credentials and the caller may see. What the caller may not see is
/// skipped here, so a page can cost several of the far end's.
pub(crate) async fn repositories(
    wire: &Wire,
    ctx: &Context,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<RepositoryName>> {
    let mut seen = Vec::new();
    let mut after = after.map(str::to_owned);
    loop {
        let unsupported = || {
            Error::new(
                ErrorKind::Unsupported,
                "the remote registry lists no repositories",
            )
        };
        let (Catalog { repositories }, headers) =
            page(wire, ctx, "/v2/_catalog", after.as_deref(), limit, unsupported).await?;
        let names = repositories.unwrap_or_default();
        let last = names.last().map(|name: &RepositoryName| name.as_str().to_owned());
        seen.extend(names.into_iter().filter(|name| ctx.visible.contains(name)));
        let more = has_next(&headers);
        if ctx.visible == Visible::All || !more || last.is_none() || seen.len() > limit {
            return Ok(cut(seen, more, limit));
        }
        if last <= after {
            return Err(misbehaved("its list of repositories does not go on"));
        }
        after = last;
    }
}

pub(crate) async fn referrers(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Page<Descriptor>> {
    let mut path = format!("/v2/{repository}/referrers/{subject}");
    if let Some(artifact_type) = artifact_type {
        path += &format!("?artifactType={}", utf8_percent_encode(artifact_type, UNRESERVED));
    }
    let start = after.map(Digest::to_string);
    let listed = page(wire, ctx, &path, start.as_deref(), limit, || {
        name_unknown(repository)
    })
    .await;
    let (Index { manifests }, headers) = match listed {
        Err(error) if error.kind() == ErrorKind::NameUnknown => {
            return Ok(Page {
                items: Vec::new(),
                more: false,
            });
        }
        listed => listed?,
    };
    // The specification leaves filter, order and page size to the far end.
    let mut manifests = manifests;
    manifests.retain(|descriptor| {
        artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted))
            && after.is_none_or(|after| descriptor.digest > *after)
    });
    manifests.sort_by_key(|descriptor| descriptor.digest);
    Ok(cut(manifests, has_next(&headers), limit))
}
