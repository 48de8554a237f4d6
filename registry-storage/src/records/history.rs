//! The history of tags: every move, appended by the transaction that makes it.
//!
//! A history is kept as long as its repository, the last [`HISTORY_MAX`] moves at least. Counting it at every move would
//! make a push read its tag's whole past; so now and then a move leaves a mark, and the collector cuts what is marked.

use registry_core::store::{HISTORY_MAX, Order, TagChange, TagMove, Txn};
use registry_core::{Context, Page, RepositoryName, Result, Tag, Timestamp};

use super::lists::cut;
use super::values::{MARK, V1, decode, encode};
use super::{Records, keys, values};

/// One in so many moves leaves a mark: a history is longer than it need be by about as many.
const MARK_ONE_IN: u128 = 64;

/// Longest position of a move in its history.
const POSITION_MAX: usize = 64;

/// Most moves that are cut off in one transaction.
const CUT_AT_ONCE: usize = 1000;

impl Records {
    /// Adds a move to the tag's history. A put that leaves a tag where it is moves nothing.
    pub(super) fn note_move(
        &self,
        txn: Txn,
        ctx: &Context,
        repository: &str,
        moved: &TagMove,
        now: Timestamp,
    ) -> Txn {
        if moved.from == moved.to {
            return txn;
        }
        let value = values::Moved {
            v: V1,
            at: now,
            by: ctx.identity.to_string(),
            from: moved.from,
            to: moved.to,
        };
        let txn = txn.append(keys::history(repository, &moved.tag), encode(&value));
        match self.runtime.random() % MARK_ONE_IN {
            0 => txn.put(keys::trim(repository, &moved.tag), MARK),
            _ => txn,
        }
    }

    /// A tag's moves in order, after a position. What cannot be read is left out: nothing else tells it.
    async fn moves(&self, table: &str, after: Option<&str>, limit: usize) -> Result<Vec<TagChange>> {
        let mut after = after.map(|after| format!("{table}{}", cut(after, POSITION_MAX)));
        let mut moves = Vec::new();
        while moves.len() < limit {
            let page = self
                .look_past(table, after.as_deref(), (limit - moves.len()).min(1000))
                .await?;
            let Some((last, _)) = page.entries.last() else {
                break;
            };
            after = Some(last.clone());
            for (key, entry) in &page.entries {
                let moved: values::Moved = decode(key, entry)?;
                moves.push(TagChange {
                    position: key[table.len()..].to_owned(),
                    at: moved.at,
                    by: moved.by,
                    from: moved.from,
                    to: moved.to,
                });
            }
        }
        Ok(moves)
    }

    /// Newest first costs the whole history, which is bounded.
    pub(super) async fn page_of_history(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        order: Order,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<TagChange>> {
        let repository = self.known(name).await?;
        let table = keys::history(&repository.id, tag);
        let wanted = limit.saturating_add(1);
        let items = match order {
            Order::OldestFirst => self.moves(&table, after, wanted).await?,
            Order::NewestFirst => {
                let mut moves = self.moves(&table, None, usize::MAX).await?;
                moves.retain(|moved| after.is_none_or(|after| moved.position.as_str() < after));
                moves.reverse();
                moves.truncate(wanted);
                moves
            }
        };
        Ok(Page::cut(items, limit))
    }

    /// Cuts histories that are marked, at most `limit` of them. Whether any mark is left.
    pub(super) async fn trim_histories(&self, limit: usize) -> Result<bool> {
        let marked = self.scan_past(keys::TRIM, None, limit.saturating_add(1)).await?;
        for (mark, entry) in marked.iter().take(limit) {
            let history = format!("history/{}/", &mark[keys::TRIM.len()..]);
            // Oldest first: when this is as long as is kept, the first of it is the oldest that is.
            let (mut window, mut after, mut gone) = (std::collections::VecDeque::new(), None, Vec::new());
            loop {
                let page = self.look_past(&history, after.as_deref(), 1000).await?.entries;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                window.extend(page.into_iter().map(|(key, _)| key));
                while window.len() > HISTORY_MAX {
                    gone.extend(window.pop_front());
                }
            }
            for keys in gone.chunks(CUT_AT_ONCE) {
                self.commit(keys.iter().fold(Txn::new().named("trim_history"), Txn::delete))
                    .await?;
            }
            // If it was marked again meanwhile, it is looked at again.
            let txn = Txn::new().named("trim_history").at(mark, entry.stamp);
            self.commit(txn.delete(mark)).await?;
        }
        Ok(marked.len() > limit)
    }
}
