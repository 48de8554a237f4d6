//! Lists: each costs its page.

use registry_core::auth::Visible;
use registry_core::store::{Event, EventKind, Txn};
use registry_core::{Context, Descriptor, Digest, Error, Page, RepositoryName, Result, TAG_MAX, Tag};

use super::values::{V1, decode, encode};
use super::{Attempt, Records, keys, values};

/// The longest prefix of `text` that has at most `max` bytes. A starting point cut to more than the longest name
/// still sorts the same against every name.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    &text[..end]
}

impl Records {
    pub(super) async fn page_of_tags(
        &self,
        name: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        let repository = self.known(name).await?;
        let table = keys::tags(&repository.id);
        let after = after.map(|after| format!("{table}{}", cut(after, TAG_MAX + 4)));
        let found = self
            .scan(&table, after.as_deref(), limit.saturating_add(1))
            .await?;
        let tags = found
            .iter()
            .map(|(key, _)| key[table.len()..].parse().map_err(Error::internal));
        Ok(Page::cut(tags.collect::<Result<_>>()?, limit))
    }

    pub(super) async fn page_of_referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>> {
        let Some(repository) = self.lookup(name).await? else {
            return Ok(Page {
                items: Vec::new(),
                more: false,
            });
        };
        let table = keys::referrers(&repository.id, subject);
        let mut after = after.map(|after| format!("{table}{after}"));
        let mut items = Vec::new();
        while items.len() <= limit {
            let found = self
                .scan(&table, after.as_deref(), limit.saturating_add(1))
                .await?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            for (key, entry) in &found {
                let referrer: Descriptor = decode(key, entry)?;
                if artifact_type.is_none_or(|wanted| referrer.artifact_type.as_deref() == Some(wanted)) {
                    items.push(referrer);
                }
            }
        }
        Ok(Page::cut(items, limit))
    }

    pub(super) async fn page_of_repositories(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        let after = after.map(|after| cut(after, registry_core::NAME_MAX + 4));
        let mut names = Vec::new();
        for range in ranges(visible) {
            let wanted = limit.saturating_add(1) - names.len();
            if wanted == 0 {
                break;
            }
            match range {
                Range::Prefix(prefix) => {
                    // A starting point before the prefix must not move the scan out of it.
                    let after = after.filter(|after| *after > prefix).map(keys::repository);
                    for (key, _) in self
                        .scan(&keys::repository(prefix), after.as_deref(), wanted)
                        .await?
                    {
                        names.push(key[keys::REPOSITORY.len()..].parse().map_err(Error::internal)?);
                    }
                }
                Range::Name(name) => {
                    if after.is_none_or(|after| name.as_str() > after) && self.lookup(name).await?.is_some() {
                        names.push(name.clone());
                    }
                }
            }
        }
        Ok(Page::cut(names, limit))
    }

    pub(super) async fn try_delete_repository(
        &self,
        ctx: &Context,
        name: &RepositoryName,
    ) -> Result<Attempt<()>> {
        let repository = self.known(name).await?;
        let now = self.clock().await?;
        let txn = self
            .assert_name(Txn::new().named("delete_repository"), name, &repository, now)
            .delete(&repository.key)
            .delete(keys::named(&repository.id))
            .put(
                keys::dropped(&repository.id),
                encode(&values::Named {
                    v: V1,
                    name: name.clone(),
                }),
            );
        let txn = self.tell(txn, ctx, name, now, EventKind::RepositoryDeleted);
        Ok(self.commit(txn).await?.map(|_| ()))
    }

    pub(super) async fn page_of_events(&self, after: Option<&str>, limit: usize) -> Result<Vec<Event>> {
        let after = after.map(|after| format!("{}{}", keys::EVENT, cut(after, 64)));
        let found = self.scan(keys::EVENT, after.as_deref(), limit).await?;
        found
            .iter()
            .map(|(key, entry)| {
                let position = key[keys::EVENT.len()..].to_owned();
                Ok(Event {
                    position,
                    ..decode(key, entry)?
                })
            })
            .collect()
    }
}

/// A part of the list of repositories.
enum Range<'v> {
    Prefix(&'v str),
    Name(&'v RepositoryName),
}

impl Range<'_> {
    fn start(&self) -> &str {
        match self {
            Range::Prefix(prefix) => prefix,
            Range::Name(name) => name.as_str(),
        }
    }
}

/// What the caller may see, as disjoint parts of the list in its order.
fn ranges(visible: &Visible) -> Vec<Range<'_>> {
    let Visible::Only { names, prefixes } = visible else {
        return vec![Range::Prefix("")];
    };
    let mut ranges: Vec<Range<'_>> = names.iter().map(Range::Name).collect();
    ranges.extend(prefixes.iter().map(|prefix| Range::Prefix(prefix)));
    ranges.sort_by(|a, b| a.start().cmp(b.start()));
    let mut disjoint: Vec<Range<'_>> = Vec::new();
    for range in ranges {
        let covered = disjoint.last().is_some_and(|last| match last {
            Range::Prefix(prefix) => range.start().starts_with(prefix),
            Range::Name(name) => matches!(&range, Range::Name(other) if other == name),
        });
        if !covered {
            disjoint.push(range);
        }
    }
    disjoint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_seen_is_cut_into_disjoint_parts_in_order() {
        let visible = Visible::Only {
            names: ["z", "a/b", "m", "m"].map(|name| name.parse().unwrap()).into(),
            prefixes: ["a/", "a/b/", "c/", "c/"].map(str::to_owned).into(),
        };
        let starts: Vec<String> = ranges(&visible)
            .iter()
            .map(|range| range.start().to_owned())
            .collect();
        assert_eq!(starts, ["a/", "c/", "m", "z"]);
    }

    #[test]
    fn cutting_a_text_keeps_whole_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("", 3), "");
    }
}
