//! Counters that writes add to, and the limits that they must not pass.

use registry_core::store::Txn;
use registry_core::{Charge, Error, ErrorKind, Result};

use super::values::{V1, decode, encode};
use super::{Records, keys, values};

/// Shards of a counter: so many writers can charge it at once without getting in each other's way.
const SHARDS: u8 = 16;

impl Records {
    /// Adds charges to their counters. A counter with a limit is read and asserted whole, so the limit is never
    /// passed; one without is only added to, in a shard that few others are writing.
    pub(super) async fn charge(&self, mut txn: Txn, charges: &[Charge]) -> Result<Txn> {
        for charge in &merged(charges) {
            let shards = self.all_under(&keys::shards(&charge.counter)).await?;
            let mut total = charge.amount;
            for (key, entry) in &shards {
                total = total.saturating_add(decode::<values::Counter>(key, entry)?.amount);
            }
            if let Some(limit) = charge
                .limit
                .filter(|limit| charge.amount > 0 && total > 0 && total as u64 > *limit)
            {
                let counter = &charge.counter;
                return Err(Error::new(
                    ErrorKind::QuotaExceeded,
                    format!("this would bring {counter} to {total}, beyond its limit of {limit}"),
                )
                .with_detail(serde_json::json!({ "counter": counter, "limit": limit, "total": total })));
            }
            let own = keys::shard(
                &charge.counter,
                (self.runtime.random() % u128::from(SHARDS)) as u8,
            );
            for shard in 0..SHARDS {
                let key = keys::shard(&charge.counter, shard);
                if charge.limit.is_none() && key != own {
                    continue;
                }
                let found = shards.iter().find(|(found, _)| *found == key);
                txn = txn.unchanged(&key, found.map(|(_, entry)| entry));
                if key == own {
                    let before = match found {
                        Some((key, entry)) => decode::<values::Counter>(key, entry)?.amount,
                        None => 0,
                    };
                    let amount = before.saturating_add(charge.amount);
                    txn = txn.put(key, encode(&values::Counter { v: V1, amount }));
                }
            }
        }
        Ok(txn)
    }
}

/// One charge for each counter: what several add up to, under the lowest of their limits.
fn merged(charges: &[Charge]) -> Vec<Charge> {
    let mut merged: Vec<Charge> = Vec::new();
    for charge in charges {
        match merged.iter_mut().find(|known| known.counter == charge.counter) {
            Some(known) => {
                known.amount = known.amount.saturating_add(charge.amount);
                known.limit = known.limit.into_iter().chain(charge.limit).min();
            }
            None => merged.push(charge.clone()),
        }
    }
    merged
}
