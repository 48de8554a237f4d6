//! `{"trash":…}`, `{"trashes":…}` and `{"purge":…}`: what can be undeleted, and what is not to be any more.

use registry_core::store::{DeletedTag, Trashed, Undo};
use registry_core::{Digest, ErrorKind, RepositoryName, Result as CoreResult, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Failure;
use super::line::{Lines, result};
use super::undo::{Listed, PAGE, operator};
use crate::stores::Stores;

/// What is in the trash of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InTrash {
    /// A manifest, with the tags that it lost.
    Manifest(Trashed),
    /// A tag that was deleted on its own.
    Tag(DeletedTag),
}

impl InTrash {
    /// When it was deleted.
    pub fn at(&self) -> Timestamp {
        match self {
            InTrash::Manifest(manifest) => manifest.at,
            InTrash::Tag(tag) => tag.at,
        }
    }
}

/// Tells all that is in the trash of a repository, each an [`InTrash`]; the result is a [`Listed`].
pub(super) async fn trash(
    repository: &RepositoryName,
    stores: &Stores,
    lines: &Lines,
) -> Result<Value, Failure> {
    let undo = &*stores.undo;
    let mut listed = Listed::default();
    let mut after = None;
    loop {
        let page = undo.list_trash(repository, after.as_ref(), PAGE).await?;
        after = page.items.last().map(|trashed| trashed.digest);
        for trashed in page.items {
            listed.count += 1;
            lines.found(InTrash::Manifest(trashed)).await?;
        }
        if !page.more {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = undo.list_deleted_tags(repository, after.as_ref(), PAGE).await?;
        after = page.items.last().map(|deleted| deleted.tag.clone());
        for deleted in page.items {
            listed.count += 1;
            lines.found(InTrash::Tag(deleted)).await?;
        }
        if !page.more {
            return result(listed);
        }
    }
}

/// Tells which repositories have anything in their trash; the result is a [`Listed`].
pub(super) async fn trashes(stores: &Stores, lines: &Lines) -> Result<Value, Failure> {
    let undo = &*stores.undo;
    let mut listed = Listed::default();
    let mut after: Option<RepositoryName> = None;
    loop {
        let after_name = after.as_ref().map(RepositoryName::as_str);
        let page = stores
            .registry
            .list_repositories(&operator(), after_name, PAGE)
            .await?;
        after = page.items.last().cloned();
        for name in page.items {
            match holds_any(undo, &name).await {
                Ok(true) => {
                    listed.count += 1;
                    lines.found(name).await?;
                }
                Ok(false) => {}
                // Deleted meanwhile, with its trash.
                Err(error) if error.kind() == ErrorKind::NameUnknown => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !page.more {
            return result(listed);
        }
    }
}

async fn holds_any(undo: &dyn Undo, repository: &RepositoryName) -> CoreResult<bool> {
    Ok(!undo.list_trash(repository, None, 1).await?.items.is_empty()
        || !undo
            .list_deleted_tags(repository, None, 1)
            .await?
            .items
            .is_empty())
}

/// Purges what was deleted until then, and tells each; the result is a [`Listed`].
pub(super) async fn purge(
    repository: &RepositoryName,
    only: Option<Digest>,
    until: Timestamp,
    stores: &Stores,
    lines: &Lines,
) -> Result<Value, Failure> {
    let (undo, ctx) = (&*stores.undo, operator());
    let mut listed = Listed::default();
    let mut after = None;
    loop {
        let page = undo.list_trash(repository, after.as_ref(), PAGE).await?;
        after = page.items.last().map(|trashed| trashed.digest);
        for trashed in page.items {
            let wanted = only.is_none_or(|only| only == trashed.digest) && trashed.at <= until;
            if wanted && went(undo.purge(&ctx, repository, &trashed.digest).await)? {
                listed.count += 1;
                lines.found(InTrash::Manifest(trashed)).await?;
            }
        }
        if !page.more {
            break;
        }
    }
    if only.is_some() {
        return result(listed);
    }
    let mut after = None;
    loop {
        let page = undo.list_deleted_tags(repository, after.as_ref(), PAGE).await?;
        after = page.items.last().map(|deleted| deleted.tag.clone());
        for deleted in page.items {
            if deleted.at <= until && went(undo.purge_tag(&ctx, repository, &deleted.tag).await)? {
                listed.count += 1;
                lines.found(InTrash::Tag(deleted)).await?;
            }
        }
        if !page.more {
            return result(listed);
        }
    }
}

/// Whether it was there to be purged: somebody may have undeleted it meanwhile.
fn went(purged: CoreResult<()>) -> CoreResult<bool> {
    match purged {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::ManifestUnknown => Ok(false),
        Err(error) => Err(error),
    }
}
