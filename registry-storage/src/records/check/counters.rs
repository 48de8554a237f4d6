//! Counters: that each can be read, and adds up to something.

use registry_core::Result;
use registry_core::store::{Entry, Txn};

use super::super::values;
use super::look::{decode, not_a_key};
use super::suspicion::{Outcome, Suspicion};
use super::walk::Walk;
use super::{Checker, FindingKind};

const PAGE: usize = 500;
const TABLE: &str = "counter/";
/// How often a counter is added up that others charge meanwhile.
const LOOKS: usize = 100;

/// The counter of a shard's key: everything up to its number.
fn counter(key: &str) -> Option<&str> {
    let (counter, shard) = key.strip_prefix(TABLE)?.rsplit_once('/')?;
    (!counter.is_empty() && shard.len() == 2 && shard.parse::<u8>().is_ok()).then_some(counter)
}

/// What the shards of a counter add up to, and the proof.
#[derive(Default)]
struct Sum {
    counter: String,
    amount: i128,
    proof: Txn,
}

impl Sum {
    fn suspicion(&self) -> Option<Suspicion> {
        let Sum {
            counter,
            amount,
            proof,
        } = self;
        let message = match amount {
            ..0 => format!("counter {counter} adds up to {amount}, less than nothing"),
            amount if i64::try_from(*amount).is_err() => {
                format!("counter {counter} adds up to {amount}, more than it can hold")
            }
            _ => return None,
        };
        let key = format!("{TABLE}{counter}");
        Some(
            Suspicion::new(FindingKind::CounterWrong, &key, message, proof.clone()).advise(
                "whoever charges it must count again; what repositories hold is at the end of this check",
            ),
        )
    }
}

impl Checker<'_> {
    /// Counters are charged by others, who say what they mean: here they are only added up.
    pub(super) async fn counters(&mut self) -> Result<()> {
        let mut walk = Walk::through(TABLE, PAGE);
        let mut sum = Sum::default();
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some(counter) = counter(&key) else {
                self.confirm(&not_a_key(&key, &entry)).await?;
                continue;
            };
            if counter != sum.counter {
                self.tell_sum(&sum).await?;
                sum = Sum {
                    counter: counter.to_owned(),
                    ..Sum::default()
                };
            }
            if let Err(told) = add(&mut sum, &key, &entry) {
                self.confirm(&told).await?;
            }
        }
        self.tell_sum(&sum).await
    }

    async fn tell_sum(&mut self, sum: &Sum) -> Result<()> {
        let mut suspicion = sum.suspicion();
        for _ in 0..LOOKS {
            let Some(told) = suspicion else { return Ok(()) };
            if let Outcome::Told(_) = self.confirm(&told).await? {
                return Ok(());
            }
            let mut walk = Walk::again(format!("{TABLE}{}/", sum.counter), PAGE);
            let mut again = Sum {
                counter: sum.counter.clone(),
                ..Sum::default()
            };
            while let Some((key, entry)) = self.next(&mut walk).await? {
                let _told_already = add(&mut again, &key, &entry);
            }
            suspicion = again.suspicion();
        }
        self.report.unsettled += 1;
        Ok(())
    }
}

fn add(sum: &mut Sum, key: &str, entry: &Entry) -> Result<(), Suspicion> {
    let shard = decode::<values::Counter>(key, entry)
        .map_err(|told| told.advise("a push that charges it fails until whoever charges it counts again"))?;
    sum.amount += i128::from(shard.amount);
    sum.proof = std::mem::take(&mut sum.proof).at(key, entry.stamp);
    Ok(())
}
