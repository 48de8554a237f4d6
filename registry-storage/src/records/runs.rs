//! Which node collects, and what its runs did. All of it may be lost: nothing but these lists and the sharing of work
//! depends on it.

use std::time::Duration;

use registry_core::store::{Begin, Counts, KvError, Lead, Run, RunEnd, Txn};
use registry_core::{Result, Timestamp};

use super::past::is_whole;
use super::values::{V1, decode, encode};
use super::{Attempt, Records, failed, keys, values};

/// Most runs that are forgotten in one transaction.
const FORGOTTEN: usize = 1000;

impl Records {
    /// The lead as it is recorded, over or not, and a transaction that asserts it. One that is damaged is nobody's.
    async fn read_lead(&self) -> Result<(Option<Lead>, Txn)> {
        let txn = Txn::new();
        let entry = match self.kv.get(keys::LEAD).await {
            Ok(entry) => entry,
            Err(KvError::Damaged { .. }) => return Ok((None, txn.damaged(keys::LEAD))),
            Err(other) => return Err(failed(other)),
        };
        let txn = txn.unchanged(keys::LEAD, entry.as_ref());
        let Some(entry) = entry else {
            return Ok((None, txn));
        };
        let lead: values::Lead = decode(keys::LEAD, &entry)?;
        let lead = Lead {
            node: lead.node,
            run: lead.run,
            until: lead.until,
            stamp: entry.stamp,
        };
        Ok((Some(lead), txn))
    }

    async fn put_lead(&self, txn: Txn, node: &str, run: &str, until: Timestamp) -> Result<Attempt<Lead>> {
        let value = values::Lead {
            v: V1,
            node: node.to_owned(),
            run: run.to_owned(),
            until,
        };
        let committed = self.commit(txn.put(keys::LEAD, encode(&value))).await?;
        Ok(committed.map(|stamp| Lead {
            node: value.node,
            run: value.run,
            until,
            stamp,
        }))
    }

    pub(super) async fn try_lead(
        &self,
        node: &str,
        run: &str,
        lasting: Duration,
    ) -> Result<Attempt<Option<Lead>>> {
        let now = self.clock().await?;
        let (found, txn) = self.read_lead().await?;
        match found {
            Some(lead) if lead.node != node && now < lead.until => Ok(Attempt::Done(None)),
            _ => Ok(self.put_lead(txn, node, run, now + lasting).await?.map(Some)),
        }
    }

    pub(super) async fn do_renew(&self, lead: &Lead, lasting: Duration) -> Result<Option<Lead>> {
        let now = self.clock().await?;
        let txn = Txn::new().at(keys::LEAD, lead.stamp);
        Ok(
            match self.put_lead(txn, &lead.node, &lead.run, now + lasting).await? {
                Attempt::Done(lead) => Some(lead),
                Attempt::Again => None,
            },
        )
    }

    pub(super) async fn do_resign(&self, lead: &Lead) -> Result<()> {
        let txn = Txn::new().at(keys::LEAD, lead.stamp);
        self.commit(txn.delete(keys::LEAD)).await?;
        Ok(())
    }

    pub(super) async fn find_leader(&self) -> Result<Option<Lead>> {
        let now = self.clock().await?;
        let (found, _) = self.read_lead().await?;
        Ok(found.filter(|lead| now < lead.until))
    }

    pub(super) async fn try_begin_run(&self, id: &str, begin: &Begin, keep: usize) -> Result<Attempt<()>> {
        let now = self.clock().await?;
        let key = keys::run(id);
        let past = self.look_past(keys::RUN, None, keep + FORGOTTEN).await?;
        let mut txn = Txn::new().absent(&key);
        let old = (past.entries.len() + 1).saturating_sub(keep.max(1));
        let damaged = past.damaged.into_iter().filter(|key| is_whole(key));
        for key in past
            .entries
            .into_iter()
            .take(old)
            .map(|(key, _)| key)
            .chain(damaged)
        {
            txn = txn.delete(key);
        }
        let run = Run {
            id: id.to_owned(),
            begin: begin.clone(),
            started: now,
            noted: now,
            outcome: None,
            counts: Counts::default(),
        };
        let txn = txn.put(key, encode(&values::Run { v: V1, run }));
        Ok(self.commit(txn).await?.map(|_| ()))
    }

    /// A run that was forgotten meanwhile stays so.
    pub(super) async fn try_note_run(
        &self,
        id: &str,
        counts: &Counts,
        end: Option<&RunEnd>,
    ) -> Result<Attempt<()>> {
        let key = keys::run(id);
        let Some((mut value, entry)) = self.get::<values::Run>(&key).await? else {
            return Ok(Attempt::Done(()));
        };
        value.run.noted = self.clock().await?;
        value.run.counts = *counts;
        value.run.outcome = end.cloned();
        let txn = Txn::new().at(&key, entry.stamp).put(key, encode(&value));
        Ok(self.commit(txn).await?.map(|_| ()))
    }

    pub(super) async fn latest_runs(&self, limit: usize) -> Result<Vec<Run>> {
        let leader = self.find_leader().await?;
        // What is damaged may be all that is on a page, and then says nowhere to go on from. So pages grow.
        let mut most = FORGOTTEN;
        let entries = loop {
            let past = self.look_past(keys::RUN, None, most).await?;
            if past.entries.len() + past.damaged.len() < most {
                break past.entries;
            }
            most *= 2;
        };
        let mut latest = Vec::new();
        for (key, entry) in entries.iter().rev() {
            if latest.len() == limit {
                break;
            }
            match decode::<values::Run>(key, entry) {
                Ok(values::Run { mut run, .. }) => {
                    let is_under_way = leader.as_ref().is_some_and(|lead| lead.run == run.id);
                    if run.outcome.is_none() && !is_under_way {
                        run.outcome = Some(RunEnd::Interrupted);
                    }
                    latest.push(run);
                }
                Err(error) => tracing::error!(%error, "a run of the collector is left out of the list"),
            }
        }
        Ok(latest)
    }
}
