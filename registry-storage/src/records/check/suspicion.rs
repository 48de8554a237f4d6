//! From a suspicion to a finding: others write while the check reads, so nothing is told of what was read piece by piece.
//!
//! A suspicion carries a transaction that asserts all that was read for it. If that commits, all of it was so at one
//! moment, and it is a finding; the repair is the same transaction with writes, so it repairs what was found and nothing
//! else. If it does not commit, the record is looked at again.

use registry_core::store::{Entry, KvError, Precondition, Stamp, Txn, Write};
use registry_core::{Digest, Result};

use super::super::{failed, values};
use super::look::Look;
use super::table::Table;
use super::walk::{Gaps, rest};
use super::{Checker, Finding, FindingKind, REMEMBERED, Repair, Told, digest, keys, parts};

/// How often a record is looked at that others write each time.
const LOOKS: usize = 100;

/// Something that may be wrong, and what proves it.
pub(super) struct Suspicion {
    kind: FindingKind,
    key: String,
    message: String,
    /// Commits only if it is so.
    proof: Box<Txn>,
    remedy: Remedy,
    /// The blob that the repair marks as lost.
    loses: Option<Box<Digest>>,
}

enum Remedy {
    /// What to do.
    Advice(String),
    /// A transaction that proves and repairs, and what it does in plain words.
    Writes(Box<Txn>, String),
    /// The record is written again from what tells it.
    Mend,
}

/// What came of a suspicion.
pub(super) enum Outcome {
    Told(Repair),
    /// It is not so any more, or never was.
    Changed,
}

impl Suspicion {
    pub(super) fn new(kind: FindingKind, key: &str, message: String, proof: Txn) -> Self {
        Suspicion {
            kind,
            key: key.to_owned(),
            message,
            proof: Box::new(proof),
            remedy: Remedy::Advice("nothing that is there says how it was; a backup may".to_owned()),
            loses: None,
        }
    }

    /// Says what to do, since it cannot be repaired.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.remedy = Remedy::Advice(advice.into());
        self
    }

    /// Says what writes repair it, added to the proof, and in words what they do.
    pub(super) fn repair(mut self, does: impl Into<String>, writes: impl FnOnce(Txn) -> Txn) -> Self {
        let txn = writes((*self.proof).clone());
        self.remedy = Remedy::Writes(Box::new(txn), does.into());
        self
    }

    /// Says that the repair marks this blob as lost, which is not to have it back.
    pub(super) fn loses(mut self, blob: &Digest) -> Self {
        self.loses = Some(Box::new(*blob));
        self
    }

    /// The table that was not seen whole of which the repair needs to be, since it takes something away for what is not
    /// in there.
    fn rests_on_gap(&self, gaps: &Gaps) -> Option<&str> {
        let Remedy::Writes(txn, _) = &self.remedy else {
            return None;
        };
        let takes = self.loses.is_some() || txn.writes.iter().any(|write| matches!(write, Write::Delete(_)));
        let mut absent = self
            .proof
            .preconditions
            .iter()
            .filter_map(|asserted| match asserted {
                Precondition::Absent(key) | Precondition::Empty(key) => Some(key),
                _ => None,
            });
        absent.find_map(|key| gaps.about(key)).filter(|_| takes)
    }

    /// Has a damaged record written again from what tells it.
    pub(super) fn mend(mut self) -> Self {
        self.remedy = Remedy::Mend;
        self
    }

    fn is(&self, told: &(FindingKind, String)) -> bool {
        self.kind == told.0 && self.key == told.1
    }
}

/// Asserts what a look found.
pub(super) fn as_seen<T>(txn: Txn, key: &str, look: &Look<T>) -> Txn {
    match look {
        Look::Absent => txn.absent(key),
        Look::Found(_, stamp) | Look::Illegible(stamp) => txn.at(key, *stamp),
        Look::Damaged => txn.damaged(key),
    }
}

/// Begins a proof with the record that is looked at.
pub(super) fn of(key: &str, entry: &Entry) -> Txn {
    Txn::new().at(key, entry.stamp)
}

impl Checker<'_> {
    /// Goes through a table.
    pub(super) async fn table(&mut self, table: Table) -> Result<()> {
        let mut walk = super::walk::Walk::through(table.prefix(), table.page());
        while let Some((key, entry)) = self.next(&mut walk).await? {
            self.settle(table, &key, entry.clone()).await?;
            self.count(table, &key, &entry);
        }
        Ok(())
    }

    /// Looks at a record until what is told of it was so at one moment.
    async fn settle(&mut self, table: Table, key: &str, mut entry: Entry) -> Result<()> {
        let mut told: Vec<(FindingKind, String)> = Vec::new();
        for look in 0..LOOKS {
            if look > 0 {
                self.status = None;
            }
            let mut again = false;
            for suspicion in self.examine(table, key, &entry).await? {
                if told.iter().any(|told| suspicion.is(told)) {
                    continue;
                }
                match self.confirm(&suspicion).await? {
                    // What was repaired may be what the others were about.
                    Outcome::Told(repair) => {
                        again |= repair == Repair::Done;
                        told.push((suspicion.kind, suspicion.key));
                    }
                    Outcome::Changed => again = true,
                }
            }
            if !again {
                return Ok(());
            }
            match self.bytes(key).await? {
                Look::Found(value, stamp) => entry = Entry { value, stamp },
                _ => return Ok(()),
            }
        }
        self.report.unsettled += 1;
        Ok(())
    }

    /// Tells a suspicion if it is so, and repairs it if that is wanted and possible.
    pub(super) async fn confirm(&mut self, suspicion: &Suspicion) -> Result<Outcome> {
        let unsure = suspicion.rests_on_gap(&self.gaps).map(|table| {
            format!("not repaired, since not all of {table}/ could be read: it may say otherwise")
        });
        let (repair, advice) = match &suspicion.remedy {
            Remedy::Writes(..) if unsure.is_some() => match self.proven(suspicion).await? {
                true => (Repair::No, unsure.unwrap_or_default()),
                false => return Ok(Outcome::Changed),
            },
            Remedy::Writes(txn, does) if self.options.repair => match self.commit(txn, "repair").await? {
                Some(true) => (Repair::Done, does.clone()),
                Some(false) => return Ok(Outcome::Changed),
                None => match self.proven(suspicion).await? {
                    true => (Repair::Possible, format!("{does}, once there is room")),
                    false => return Ok(Outcome::Changed),
                },
            },
            _ if !self.proven(suspicion).await? => return Ok(Outcome::Changed),
            Remedy::Writes(_, does) => (Repair::Possible, does.clone()),
            Remedy::Mend if self.options.repair => match self.records.mend(&suspicion.key).await {
                Ok(()) => (
                    Repair::Done,
                    "it is written again from what others say of it".to_owned(),
                ),
                Err(why) => (Repair::No, why.message().to_owned()),
            },
            Remedy::Mend => (
                Repair::Possible,
                "it is written again if others tell what it said".to_owned(),
            ),
            Remedy::Advice(advice) => (Repair::No, advice.clone()),
        };
        if repair == Repair::Done {
            self.note_lost(suspicion).await?;
        } else if suspicion.kind == FindingKind::DamagedRecord {
            self.gaps.unread(&suspicion.key);
        }
        self.found(Finding {
            kind: suspicion.kind,
            key: suspicion.key.clone(),
            message: suspicion.message.clone(),
            repair,
            advice,
        })
        .await;
        Ok(Outcome::Told(repair))
    }

    /// Tells a finding, and lets others run: whoever is told may have this wait, or stop it.
    pub(super) async fn found(&mut self, finding: Finding) {
        self.report.findings += 1;
        self.report.repaired += u64::from(finding.repair == Repair::Done);
        self.say(Told::Found(&finding));
        rest().await;
    }

    /// What a repair left lost.
    async fn note_lost(&mut self, suspicion: &Suspicion) -> Result<()> {
        let mended = match &suspicion.remedy {
            Remedy::Mend => parts(&suspicion.key).and_then(|[name]| digest(name)),
            _ => None,
        };
        let mended = mended.filter(|_| suspicion.key.starts_with(keys::BLOB));
        let lost = match (suspicion.loses.as_deref().copied(), mended) {
            (Some(lost), _) => Some(lost),
            (None, Some(blob)) => match self.look::<values::Blob>(&suspicion.key).await? {
                Look::Found(found, _) if found.suspect => Some(blob),
                _ => None,
            },
            (None, None) => None,
        };
        if let Some(lost) = lost
            && (self.marked.len() >= REMEMBERED || self.marked.insert(lost))
        {
            self.report.lost += 1;
        }
        Ok(())
    }

    /// Whether everything that a proof asserts is so at one moment.
    async fn proven(&self, suspicion: &Suspicion) -> Result<bool> {
        match self.commit(&suspicion.proof, "").await? {
            Some(holds) => Ok(holds),
            // A full disk is no reason to tell nothing: what does not change between two looks was so between them.
            None => Ok(self.holds(&suspicion.proof.preconditions).await?
                && self.holds(&suspicion.proof.preconditions).await?),
        }
    }

    /// Commits a transaction: whether its preconditions held; nothing if there is no room even for that.
    async fn commit(&self, txn: &Txn, name: &'static str) -> Result<Option<bool>> {
        match self.records.kv.commit(txn.clone().named(name)).await {
            Ok(_) => Ok(Some(true)),
            Err(KvError::Conflict(_) | KvError::Damaged { .. }) => Ok(Some(false)),
            Err(KvError::Full(_)) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    /// Looks whether each of these holds, one after the other.
    async fn holds(&self, preconditions: &[Precondition]) -> Result<bool> {
        for precondition in preconditions {
            let so = match precondition {
                Precondition::At(key, stamp) => self.stamp(key).await? == Some(*stamp),
                Precondition::Absent(key) => matches!(self.bytes(key).await?, Look::Absent),
                Precondition::Damaged(key) => matches!(self.bytes(key).await?, Look::Damaged),
                Precondition::Empty(prefix) => !self.any_under(prefix).await?,
                Precondition::Before(time) => self.records.clock().await? < *time,
                Precondition::NotBefore(time) => self.records.clock().await? >= *time,
            };
            if !so {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn stamp(&self, key: &str) -> Result<Option<Stamp>> {
        Ok(match self.bytes(key).await? {
            Look::Found(_, stamp) => Some(stamp),
            _ => None,
        })
    }
}
