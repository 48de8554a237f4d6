//! `{"undelete":…}`, `{"history":…}` and `{"roll_back":…}`: what was deleted or moved, and back again.

use std::sync::Arc;

use registry_core::auth::Identity;
use registry_core::store::{Order, TagChange, Trashed, Undeleted, Undo, roll_back as put_back};
use registry_core::{Context, Digest, ErrorKind, Expect, Reference, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Failure;
use super::line::{Lines, result};
use crate::stores::Stores;

/// How many entries of a list are read at once.
pub(super) const PAGE: usize = 100;
/// Who the events and the history name for what is done here.
const OPERATOR: &str = "operator";

/// How much a list had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Entries that were told.
    pub count: u64,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// A tag that points where it pointed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The tag.
    pub tag: Tag,
    /// What it pointed at, if it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// What it points at now.
    pub to: Digest,
}

pub(super) fn operator() -> Context {
    Context::request(Identity::Named(Arc::from(OPERATOR)), "control")
}

/// Brings a manifest back with its tags, or, if a tag is named, that one with its manifest.
pub(super) async fn undelete(
    repository: &RepositoryName,
    what: &Reference,
    stores: &Stores,
) -> Result<Value, Failure> {
    let undo = &*stores.undo;
    result(match what {
        Reference::Digest(digest) => undo.undelete(&operator(), repository, digest, None).await?,
        Reference::Tag(tag) => undelete_tag(undo, repository, tag).await?,
    })
}

/// A tag is in the trash by itself, or with its manifest if that was deleted; or by itself, and its manifest was
/// deleted after it.
async fn undelete_tag(undo: &dyn Undo, repository: &RepositoryName, tag: &Tag) -> Result<Undeleted, Failure> {
    let ctx = operator();
    let tags = std::slice::from_ref(tag);
    let mut digest = match undo.undelete_tag(&ctx, repository, tag).await {
        Ok(digest) => return Ok(back(digest, tag)),
        Err(error) if error.kind() == ErrorKind::ManifestUnknown => {
            match lost_with(undo, repository, tag).await? {
                Some(digest) => return Ok(undo.undelete(&ctx, repository, &digest, Some(tags)).await?),
                None => deleted_at(undo, repository, tag).await?.ok_or(error)?,
            }
        }
        Err(error) => return Err(error.into()),
    };
    undo.undelete(&ctx, repository, &digest, Some(&[])).await?;
    digest = undo.undelete_tag(&ctx, repository, tag).await?;
    Ok(back(digest, tag))
}

fn back(digest: Digest, tag: &Tag) -> Undeleted {
    Undeleted {
        digest,
        tags: vec![tag.clone()],
        kept: Vec::new(),
    }
}

/// The manifest in the trash that lost this tag, the last one if there are several.
async fn lost_with(
    undo: &dyn Undo,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<Digest>, Failure> {
    let (mut after, mut last) = (None, None::<Trashed>);
    loop {
        let page = undo.list_trash(repository, after.as_ref(), PAGE).await?;
        after = page.items.last().map(|trashed| trashed.digest);
        let found = page
            .items
            .into_iter()
            .filter(|trashed| trashed.tags.contains(tag));
        last = last.into_iter().chain(found).max_by_key(|trashed| trashed.at);
        if !page.more {
            return Ok(last.map(|trashed| trashed.digest));
        }
    }
}

/// What a tag pointed at that was deleted on its own.
async fn deleted_at(
    undo: &dyn Undo,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<Digest>, Failure> {
    let mut after = None;
    loop {
        let page = undo.list_deleted_tags(repository, after.as_ref(), PAGE).await?;
        if let Some(found) = page.items.iter().find(|deleted| deleted.tag == *tag) {
            return Ok(Some(found.digest));
        }
        after = page.items.last().map(|deleted| deleted.tag.clone());
        if !page.more {
            return Ok(None);
        }
    }
}

/// Tells the moves of a tag, the last first, each a [`TagChange`]; the result is a [`Listed`].
pub(super) async fn history(
    repository: &RepositoryName,
    tag: &Tag,
    limit: u32,
    stores: &Stores,
    lines: &Lines,
) -> Result<Value, Failure> {
    let mut listed = Listed::default();
    let mut after: Option<String> = None;
    loop {
        let left = (u64::from(limit) - listed.count) as usize;
        let page = stores
            .undo
            .tag_history(
                repository,
                tag,
                Order::NewestFirst,
                after.as_deref(),
                left.min(PAGE),
            )
            .await?;
        after = page.items.last().map(|change| change.position.clone());
        for change in page.items {
            listed.count += 1;
            lines.found(change).await?;
        }
        listed.more = page.more;
        if !page.more || listed.count >= u64::from(limit) {
            return result(listed);
        }
    }
}

/// Points a tag at `to`, or at what it pointed at before its last move, if it has not moved meanwhile.
pub(super) async fn roll_back(
    repository: &RepositoryName,
    tag: &Tag,
    to: Option<Digest>,
    stores: &Stores,
) -> Result<Value, Failure> {
    let (undo, registry, ctx) = (&*stores.undo, &*stores.registry, operator());
    let page = undo
        .tag_history(repository, tag, Order::NewestFirst, None, 1)
        .await?;
    let from = match registry
        .get_manifest(&ctx, repository, &Reference::Tag(tag.clone()))
        .await
    {
        Ok(manifest) => Some(manifest.info.digest),
        Err(error) if error.kind() == ErrorKind::ManifestUnknown => None,
        Err(error) => return Err(error.into()),
    };
    let to = match (to, page.items.first()) {
        (Some(to), _) => to,
        (None, None) => return Err(format!("{repository} never had a tag {tag}").into()),
        (None, Some(last)) => before(last, from).ok_or_else(|| {
            format!("{repository}:{tag} pointed at nothing before its last move; name a digest")
        })?,
    };
    let expect = from.map_or(Expect::Absent, Expect::At);
    put_back(registry, undo, &ctx, repository, tag, &to, expect).await?;
    result(RolledBack {
        tag: tag.clone(),
        from,
        to,
    })
}

/// What a tag pointed at before its last move, provided that this was the move to where it is now.
fn before(last: &TagChange, now: Option<Digest>) -> Option<Digest> {
    last.from.filter(|from| last.to == now && Some(*from) != now)
}
