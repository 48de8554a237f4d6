//! Lists: tags (end-8), referrers (end-12) and repositories.

use http::StatusCode;
use http::header::LINK;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::operation::Paging;
use super::respond::{Answer, OCI_FILTERS_APPLIED, Reply};
use super::service::Service;
use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest;
use crate::name::RepositoryName;
use crate::registry::Page;

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Bytes after which a page of referrers ends before its number is full: annotations are of any length, and clients
/// take an index only up to the size of a manifest.
const REFERRERS_BYTES: usize = manifest::SIZE_MAX / 2;

/// How many referrers are held at once beyond those already in the page.
const REFERRERS_STEP: usize = 64;

impl Reply {
    /// Points to the next page, if there is one.
    fn next(self, path: &str, limit: usize, last: Option<&str>, artifact_type: Option<&str>) -> Self {
        let Some(last) = last else {
            return self;
        };
        let mut target = format!("{path}?n={limit}&last={}", utf8_percent_encode(last, ESCAPED));
        if let Some(artifact_type) = artifact_type {
            target.push_str("&artifactType=");
            target.extend(utf8_percent_encode(artifact_type, ESCAPED));
        }
        self.header(LINK, format!("<{target}>; rel=\"next\""))
    }
}

/// The entries of a page as text, and the one after which the next page begins.
fn entries<T: AsRef<str>>(page: &Page<T>, limit: usize) -> (Vec<&str>, Option<&str>) {
    let items: Vec<&str> = page.items.iter().take(limit).map(AsRef::as_ref).collect();
    let more = page.more || page.items.len() > limit;
    let last = items.last().copied().filter(|_| more);
    (items, last)
}

impl Service {
    pub(super) async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        paging: &Paging,
    ) -> Answer {
        let limit = self.page(paging.limit);
        let page = self
            .registry()
            .list_tags(ctx, repository, paging.after.as_deref(), limit)
            .await?;
        let (tags, last) = entries(&page, limit);
        Ok(Reply::new(StatusCode::OK)
            .next(&format!("/v2/{repository}/tags/list"), limit, last, None)
            .json("application/json", &json!({ "name": repository, "tags": tags })))
    }

    pub(super) async fn list_repositories(&self, ctx: &Context, paging: &Paging) -> Answer {
        let limit = self.page(paging.limit);
        let page = self
            .registry()
            .list_repositories(ctx, paging.after.as_deref(), limit)
            .await?;
        let (names, last) = entries(&page, limit);
        Ok(Reply::new(StatusCode::OK)
            .next("/v2/_catalog", limit, last, None)
            .json("application/json", &json!({ "repositories": names })))
    }

    pub(super) async fn list_referrers(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<Digest>,
        limit: Option<u64>,
    ) -> Answer {
        let limit = self.page(limit);
        let page = self
            .referrers(ctx, repository, subject, artifact_type, after, limit)
            .await?;
        let last = page.items.last().filter(|_| page.more);
        let last = last.map(|descriptor| descriptor.digest.to_string());
        let path = format!("/v2/{repository}/referrers/{subject}");
        let mut reply = Reply::new(StatusCode::OK).next(&path, limit, last.as_deref(), artifact_type);
        if artifact_type.is_some() {
            reply = reply.header(OCI_FILTERS_APPLIED, "artifactType");
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": manifest::OCI_INDEX,
            "manifests": page.items,
        });
        Ok(reply.json(manifest::OCI_INDEX, &index))
    }

    /// A page of referrers, bounded in number and in bytes. It holds at least one if there is one, so that the next
    /// page has a place to begin.
    async fn referrers(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        mut after: Option<Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>> {
        let mut items: Vec<Descriptor> = Vec::new();
        let mut bytes = 0;
        loop {
            let step = REFERRERS_STEP.min(limit - items.len());
            let page = self
                .registry()
                .list_referrers(ctx, repository, subject, artifact_type, after.as_ref(), step)
                .await?;
            let exhausted = !page.more || page.items.is_empty();
            for descriptor in page.items {
                let size = serde_json::to_vec(&descriptor).map_or(0, |json| json.len());
                let full = items.len() >= limit || (!items.is_empty() && bytes + size > REFERRERS_BYTES);
                if full {
                    return Ok(Page { items, more: true });
                }
                bytes += size;
                after = Some(descriptor.digest);
                items.push(descriptor);
            }
            if exhausted || items.len() >= limit {
                return Ok(Page {
                    items,
                    more: !exhausted,
                });
            }
        }
    }
}
