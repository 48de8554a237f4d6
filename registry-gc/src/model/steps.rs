//! Which steps are worth trying in a state, and how each is taken.

use super::BlobContract;
use super::action::{Action, COVERED};
use super::rules::Weakening;
use super::state::*;
use super::uploads::Outcome;
use std::sync::atomic::Ordering;

impl BlobContract {
    /// Takes one step; `None` when it is not possible or refused.
    pub(super) fn apply(&self, s: &mut State, action: Action) -> Option<()> {
        use Action::*;
        match action {
            Tick => {
                self.tick(s);
                Some(())
            }
            CreateRepository => self.covering("create_repository", self.create_repository(s)),
            DeleteRepository { repository } => {
                self.covering("delete_repository", self.delete_repository(s, repository))
            }
            SweepRepository { repository, manifest } => {
                self.covering("sweep_repository", self.sweep_repository(s, repository, manifest))
            }
            FinishSweep { repository } => self.finish_sweep(s, repository),
            ReadForLease {
                client,
                repository,
                blob,
            } => self.read_for_lease(s, client, repository, blob),
            Lease { client } => self.covering("lease", self.lease(s, client)),
            TellExists { repository, blob } => self.tell_exists(s, repository, blob),
            ReadForPut {
                client,
                repository,
                manifest,
                deferred,
            } => self.read_for_put(s, client, repository, manifest, deferred),
            PutManifest { client } => {
                let deferred = matches!(s.clients[client], ClientStep::Putting { deferred: true, .. });
                let name = if deferred {
                    "put_manifest (deferred)"
                } else {
                    "put_manifest"
                };
                self.covering(name, self.put_manifest(s, client))
            }
            DeleteManifest { repository, manifest } => {
                self.covering("delete_manifest", self.delete_manifest(s, repository, manifest))
            }
            PurgeManifest { repository, manifest } => self.purge_manifest(s, repository, manifest),
            SweepManifest { repository } => {
                self.covering("delete_manifest (in pieces)", self.sweep_manifest(s, repository))
            }
            Undelete { repository, manifest } => {
                self.covering("undelete", self.undelete(s, repository, manifest))
            }
            DeleteBlob { repository, blob } => {
                self.covering("delete_blob", self.delete_blob(s, repository, blob))
            }
            Claim { blob } => self.covering("claim", self.claim(s, blob)),
            BeginWrite { location } => self.begin_write(s, location),
            LandWrite { location } => {
                let late = !s.locations[location].is_claimed();
                let landed = self.land_write(s, location);
                if late {
                    self.covering("late write", landed)
                } else {
                    landed
                }
            }
            LandStaleWrite { location } => self.land_stale_write(s, location),
            Touch { location } => self.covering("touch", self.touch(s, location)),
            Resume { location } => self.covering("touch (resume)", self.resume(s, location)),
            Cancel { location } => self.covering("cancel", self.cancel(s, location)),
            ReadForPublish {
                client,
                repository,
                location,
            } => self.read_for_publish(s, client, repository, location),
            ReadClock { client } => self.read_clock(s, client),
            Publish { client } => self.publish(s, client, true),
            PublishOutcomeUnknown { client } => {
                self.covering("publish (outcome unknown)", self.publish(s, client, false))
            }
            Despair { client } => self.despair(s, client),
            StartReading { client, blob } => self.start_reading(s, client, blob),
            ReadForSuspect { client, blob } => self.read_for_suspect(s, client, blob),
            MarkSuspect { client } => self.covering("mark_suspect", self.mark_suspect(s, client)),
            LoseBytes { location } => {
                s.locations[location].bytes = Bytes::Lost;
                self.covering("lose bytes", Some(()))
            }
            CrashClient { client } => {
                s.clients[client] = ClientStep::Idle;
                self.covering("crash", Some(()))
            }
            CrashCollector { collector } => {
                s.collectors[collector] = CollectorStep::Idle;
                self.covering("crash", Some(()))
            }
            Examine {
                collector,
                blob,
                entry,
            } => self.examine(s, collector, blob, entry),
            DropPending { collector } => self.covering("drop_pending", self.drop_pending(s, collector)),
            Requeue { collector } => self.covering("requeue", self.requeue(s, collector)),
            Condemn { collector } => self.covering("condemn", self.condemn(s, collector)),
            Remove { collector } => self.covering("remove", self.remove(s, collector)),
            UnlinkCondemned { collector } => self.unlink_condemned(s, collector),
            ExamineClaim { collector, location } => self.examine_claim(s, collector, location),
            Abandon { collector } => self.covering("abandon", self.abandon(s, collector)),
            ExamineDoomed { collector, location } => self.examine_doomed(s, collector, location),
            Unlink { collector } => self.covering("unlink", self.unlink(s, collector)),
            ClearDoomed { collector } => self.covering("clear_doomed", self.clear_doomed(s, collector)),
        }
    }

    /// The steps that are worth trying in a state.
    pub(super) fn steps(&self, s: &State, steps: &mut Vec<Action>) {
        use Action::*;
        steps.push(Tick);
        for client in 0..self.bounds.clients {
            self.client_steps(s, client, steps);
        }
        for collector in 0..self.bounds.collectors {
            self.collector_steps(s, collector, steps);
        }
        self.location_steps(s, steps);
        if self.bounds.repository_lifecycle {
            steps.push(CreateRepository);
        }
        for repository in 0..self.bounds.repository_ids {
            let here = &s.repositories[repository];
            if here.naming == Naming::Dropped {
                steps.push(FinishSweep { repository });
                steps.extend((0..2).map(|manifest| SweepRepository { repository, manifest }));
            } else if here.naming == Naming::Live {
                self.repository_steps(repository, steps);
            }
        }
    }

    fn repository_steps(&self, repository: usize, steps: &mut Vec<Action>) {
        use Action::*;
        if self.bounds.repository_lifecycle {
            steps.push(DeleteRepository { repository });
        }
        for blob in 0..self.bounds.blobs {
            if self.bounds.leases {
                steps.push(TellExists { repository, blob });
            }
            if self.bounds.delete_blob {
                steps.push(DeleteBlob { repository, blob });
            }
        }
        for manifest in 0..self.bounds.manifests {
            steps.push(DeleteManifest { repository, manifest });
            if self.bounds.trash {
                steps.push(PurgeManifest { repository, manifest });
                steps.push(Undelete { repository, manifest });
            }
        }
        if self.bounds.delete_in_pieces {
            steps.push(SweepManifest { repository });
        }
    }

    fn client_steps(&self, s: &State, client: usize, steps: &mut Vec<Action>) {
        use Action::*;
        match s.clients[client] {
            ClientStep::Idle => self.client_reads(s, client, steps),
            ClientStep::Leasing { .. } => steps.push(Lease { client }),
            ClientStep::Putting { .. } => steps.push(PutManifest { client }),
            ClientStep::Publishing { .. } => {
                if self.bounds.looks_earlier {
                    steps.push(ReadClock { client });
                }
                steps.extend([Publish { client }, PublishOutcomeUnknown { client }]);
            }
            ClientStep::Missing { .. } => steps.push(MarkSuspect { client }),
            ClientStep::Despairing { .. } => steps.push(Despair { client }),
            ClientStep::Reading { .. } => {}
        }
        if s.clients[client] != ClientStep::Idle {
            steps.push(CrashClient { client });
        }
    }

    fn client_reads(&self, s: &State, client: usize, steps: &mut Vec<Action>) {
        use Action::*;
        for repository in self.live_repositories(s) {
            for manifest in 0..self.bounds.manifests {
                steps.push(ReadForPut {
                    client,
                    repository,
                    manifest,
                    deferred: false,
                });
                if self.bounds.deferred && manifest == IMAGE {
                    steps.push(ReadForPut {
                        client,
                        repository,
                        manifest,
                        deferred: true,
                    });
                }
            }
            if self.bounds.leases {
                steps.extend((0..self.bounds.blobs).map(|blob| ReadForLease {
                    client,
                    repository,
                    blob,
                }));
            }
            for location in (0..self.bounds.locations).filter(|&at| s.locations[at].is_claimed()) {
                steps.push(ReadForPublish {
                    client,
                    repository,
                    location,
                });
            }
        }
        for blob in 0..self.bounds.blobs {
            if self.bounds.readers {
                steps.push(StartReading { client, blob });
            }
            if self.bounds.lost_bytes {
                steps.push(ReadForSuspect { client, blob });
            }
        }
    }

    fn collector_steps(&self, s: &State, collector: usize, steps: &mut Vec<Action>) {
        use Action::*;
        match s.collectors[collector] {
            CollectorStep::Idle => {
                for blob in 0..self.bounds.blobs {
                    steps.extend((0..ENTRIES).map(|entry| Examine {
                        collector,
                        blob,
                        entry,
                    }));
                }
                for location in 0..self.bounds.locations {
                    steps.push(ExamineClaim { collector, location });
                    steps.push(ExamineDoomed { collector, location });
                }
            }
            CollectorStep::Collecting { decision, .. } => match decision {
                Decision::Drop => steps.push(DropPending { collector }),
                Decision::Requeue(_) => steps.push(Requeue { collector }),
                Decision::Condemn => steps.push(Condemn { collector }),
                Decision::Remove => {
                    if self.rules.lack(Weakening::UnlinkBeforeRemove) {
                        steps.push(UnlinkCondemned { collector });
                    }
                    steps.push(Remove { collector });
                }
            },
            CollectorStep::Abandoning { .. } => steps.push(Abandon { collector }),
            CollectorStep::Unlinking { .. } => steps.push(Unlink { collector }),
            CollectorStep::Clearing { .. } => steps.push(ClearDoomed { collector }),
        }
        if s.collectors[collector] != CollectorStep::Idle {
            steps.push(CrashCollector { collector });
        }
    }

    fn location_steps(&self, s: &State, steps: &mut Vec<Action>) {
        use Action::*;
        steps.extend((0..self.bounds.blobs).map(|blob| Claim { blob }));
        for location in 0..self.bounds.locations {
            let it = &s.locations[location];
            if it.is_claimed() {
                steps.push(Cancel { location });
            }
            if self.bounds.uploads {
                if it.is_claimed() {
                    steps.extend([Touch { location }, Resume { location }]);
                }
                steps.extend([
                    BeginWrite { location },
                    LandWrite { location },
                    LandStaleWrite { location },
                ]);
            }
            let stored = s.blobs.iter().any(|blob| blob.names(location));
            if self.bounds.lost_bytes && stored && it.bytes == Bytes::Good {
                steps.push(LoseBytes { location });
            }
        }
    }

    fn covering(&self, name: &'static str, outcome: Option<()>) -> Option<()> {
        if outcome.is_some() {
            self.cover(name);
        }
        outcome
    }

    fn cover(&self, name: &'static str) {
        let Some(at) = COVERED.iter().position(|covered| *covered == name) else {
            panic!("{name} is not in the list of what can be covered");
        };
        // Written once each: every later visit is a read of a line that no other thread writes.
        if self.covered.load(Ordering::Relaxed) & (1 << at) == 0 {
            self.covered.fetch_or(1 << at, Ordering::Relaxed);
        }
    }

    pub(super) fn cover_publish(&self, outcome: Outcome) {
        self.cover(match outcome {
            Outcome::Fresh => "publish (fresh)",
            Outcome::Keep => "publish (keep)",
            Outcome::Revive => "publish (revive)",
            Outcome::Swap => "publish (swap)",
        });
    }
}
