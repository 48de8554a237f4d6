//! Whether what the code did is something that the model does.
//!
//! A [`Replay`] holds the model's state for one digest and is told, commit by commit, which transition the code says it
//! took and what its records were afterwards. It looks for steps of the model (the very functions that are explored)
//! that lead there: a process of the model reads, at this moment or at an earlier one, changing no record, and then
//! takes the transition of that name, after which the model's records must be the code's. Reading earlier is what a
//! paused process does, and the model allows any pause; so the moment is looked for backwards along the path so far.

use super::state::*;
use super::{Action, BlobContract, Bounds, Rules, Timing};
use stateright::Model;
use std::fmt;

/// How many steps before a commit its process is taken to have read, at most.
const LOOK_BACK: usize = 400;

/// The records part of a state: what the code writes down too. What processes hold in their hands, and what only the
/// promises need, is left out.
#[must_use]
pub fn records(state: &State) -> State {
    let mut records = State {
        clients: <[ClientStep; CLIENTS]>::default(),
        collectors: <[CollectorStep; COLLECTORS]>::default(),
        ..*state
    };
    for blob in &mut records.blobs {
        for entry in &mut blob.pending {
            (entry.read_by, entry.outdated_for) = (0, 0);
        }
        blob.pending.sort_unstable_by(|a, b| b.cmp(a));
    }
    for here in &mut records.repositories {
        (here.promises, here.entitled) = ([0; BLOBS], [false; BLOBS]);
        for manifest in &mut here.manifests {
            manifest.required = false;
        }
    }
    for at in 0..LOCATIONS {
        let named = records.blobs.iter().any(|blob| blob.names(at));
        let it = &mut records.locations[at];
        (it.session, it.write, it.stale_write) = (0, 0, 0);
        if !named && !it.is_claimed() && it.doomed == ABSENT && !it.bytes.on_disk() {
            *it = Location::default();
        }
    }
    records
}

/// No steps of the model lead to what the code has recorded.
#[derive(Clone, Debug)]
pub struct Diverged {
    /// The transition that the code says it took.
    pub transition: String,
    /// The model's records before it.
    pub before: State,
    /// The code's records after it.
    pub code: State,
    /// What the model's records may be after a transition of that name, if it can be taken at all.
    pub model: Vec<State>,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}` is not what the model does", self.transition)?;
        writeln!(f, "  before:       {}", self.before)?;
        writeln!(f, "  in the code:  {}", self.code)?;
        match self.model.as_slice() {
            [] => write!(f, "  in the model: refused"),
            states => {
                let states: Vec<String> = states.iter().map(State::to_string).collect();
                write!(f, "  in the model: {}", states.join("\n            or: "))
            }
        }
    }
}

impl std::error::Error for Diverged {}

/// One transition that was followed: the state before it, and the model's steps.
#[derive(Clone, Debug)]
struct Followed {
    before: State,
    steps: Vec<Taken>,
}

/// A step, and which of the contracts takes it: they differ in what a delete does.
#[derive(Clone, Copy, Debug)]
struct Taken {
    contract: usize,
    step: Action,
}

/// The model's state for one digest, and how it came about.
#[derive(Clone, Debug)]
pub struct Replay {
    /// A delete is into the trash, in pieces, or neither; the code decides.
    contracts: [BlobContract; 3],
    /// The same, which are asked for the steps that are taken and not for those that are tried: so they know what
    /// occurred.
    taken: [BlobContract; 3],
    state: State,
    path: Vec<Followed>,
}

/// Steps that lead to what the code has recorded.
struct Found {
    reads: Vec<Taken>,
    commit: Vec<Taken>,
    next: State,
}

/// Which process takes a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Process {
    Client(usize),
    Collector(usize),
    /// Anybody: the step needs nothing that was read before.
    Any,
}

impl Replay {
    /// Nothing is recorded yet. `timing` is that of the code, in ticks.
    #[must_use]
    pub fn new(timing: Timing) -> Replay {
        let contract = |trash, delete_in_pieces| {
            let bounds = Bounds {
                trash,
                delete_in_pieces,
                ..Bounds::replay(timing)
            };
            BlobContract::new(bounds, Rules::CONTRACT).numbered()
        };
        let contracts = || {
            [
                contract(false, false),
                contract(true, false),
                contract(false, true),
            ]
        };
        Replay {
            contracts: contracts(),
            taken: contracts(),
            state: State::default(),
            path: Vec::new(),
        }
    }

    /// The model's state, which may be any that is alike in its records.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Which of [`COVERED`](super::COVERED) have occurred. Not told are crashes, which no record shows, and repositories
    /// that come to be, as whoever replays makes them beforehand.
    #[must_use]
    pub fn covered(&self) -> Vec<&'static str> {
        let mut covered: Vec<_> = self.taken.iter().flat_map(BlobContract::exercised).collect();
        covered.retain(|name| !["crash", "create_repository"].contains(name));
        covered
    }

    /// The steps of the model so far, the last `most` transitions of them.
    #[must_use]
    pub fn steps(&self, most: usize) -> Vec<(Action, State)> {
        let from = self.path.len().saturating_sub(most);
        let mut steps = Vec::new();
        for followed in &self.path[from..] {
            let mut state = followed.before;
            for step in &followed.steps {
                match self.next(&state, *step) {
                    Some(next) => state = next,
                    None => break,
                }
                steps.push((step.step, state));
            }
        }
        steps
    }

    /// Takes a step that no commit of the code stands for: the clock, a fault, a repository id that comes into use or
    /// goes out of use. `false` if the model does not allow it.
    #[must_use]
    pub fn step(&mut self, step: Action) -> bool {
        let step = Taken { contract: 0, step };
        match self.next(&self.state, step) {
            Some(next) => {
                self.push(vec![step], next);
                true
            }
            None => false,
        }
    }

    fn next(&self, state: &State, Taken { contract, step }: Taken) -> Option<State> {
        self.contracts[contract].next_state(state, step)
    }

    fn push(&mut self, steps: Vec<Taken>, next: State) {
        let mut state = self.state;
        for Taken { contract, step } in &steps {
            state = self.taken[*contract].next_state(&state, *step).unwrap_or(state);
        }
        self.path.push(Followed {
            before: self.state,
            steps,
        });
        self.state = next;
    }

    /// Follows a commit that the code calls `transition`, after which its records are `code`.
    ///
    /// # Errors
    /// [`Diverged`] if no steps of the model lead there. The state is as before.
    pub fn follow(&mut self, transition: &str, code: &State) -> Result<(), Box<Diverged>> {
        let mut reached = Vec::new();
        let earliest = self.path.len().saturating_sub(LOOK_BACK);
        for from in (earliest..=self.path.len()).rev() {
            for process in [
                Process::Client(self.free_client(from)),
                Process::Collector(self.free_collector(from)),
            ] {
                if let Some(found) = self.search(transition, code, from, process, &mut reached) {
                    self.insert(from, found);
                    return Ok(());
                }
            }
            if !reads_before(transition) {
                break;
            }
        }
        reached.sort_unstable();
        reached.dedup();
        Err(Box::new(Diverged {
            transition: transition.to_owned(),
            before: records(&self.state),
            code: *code,
            model: reached,
        }))
    }

    /// Steps that read at `from` and commit now.
    fn search(
        &self,
        transition: &str,
        code: &State,
        from: usize,
        process: Process,
        reached: &mut Vec<State>,
    ) -> Option<Found> {
        let start = self.path.get(from).map_or(self.state, |followed| followed.before);
        let mut beginnings = vec![(Vec::new(), start)];
        let mut at = 0;
        while at < beginnings.len() {
            let (reads, state) = beginnings[at].clone();
            at += 1;
            if let Some(committed) = self.commit(transition, code, from, process, (&reads, &state), reached) {
                return Some(committed);
            }
            if reads.len() < READS {
                for read in self.steps_of(&state, process, 0) {
                    let next = reads_for(transition, &read.step)
                        .then(|| self.next(&state, read))
                        .flatten();
                    // A read changes no record.
                    if let Some(next) = next
                        && records(&next) == records(&state)
                    {
                        beginnings.push(([reads.as_slice(), &[read]].concat(), next));
                    }
                }
            }
        }
        None
    }

    fn commit(
        &self,
        transition: &str,
        code: &State,
        from: usize,
        process: Process,
        (reads, state): (&[Taken], &State),
        reached: &mut Vec<State>,
    ) -> Option<Found> {
        // Without a read there is nothing to remember from earlier.
        if reads.is_empty() && from < self.path.len() {
            return None;
        }
        let mut state = *state;
        for step in self.path[from..].iter().flat_map(|followed| &followed.steps) {
            state = self.next(&state, *step)?;
        }
        // The clock is read last: after the record, and after looking for its bytes.
        let clock = match process {
            Process::Client(client) if transition == "publish" => Some(Taken {
                contract: 0,
                step: Action::ReadClock { client },
            }),
            _ => None,
        };
        let clock = clock.and_then(|clock| Some((clock, self.next(&state, clock)?)));
        if let Some((_, later)) = clock {
            state = later;
        }
        let clock = clock.map(|(step, _)| step);
        let contracts = if differs(transition) {
            self.contracts.len()
        } else {
            1
        };
        let steps = (0..contracts).flat_map(|contract| self.steps_of(&state, process, contract));
        for step in steps.filter(|it| commits(&it.step) == Some(transition)) {
            if let Some(next) = self.next(&state, step) {
                let found = records(&next);
                if found == *code {
                    let mut found = self.forgetting(process, reads, step, next);
                    found.commit.splice(0..0, clock);
                    return Some(found);
                }
                if reached.len() < REACHED_SHOWN {
                    reached.push(found);
                }
            }
        }
        None
    }

    /// A process that goes on holding something (whoever has unlinked is about to clear) crashes, so that the next step
    /// is anybody's.
    fn forgetting(&self, process: Process, reads: &[Taken], commit: Taken, state: State) -> Found {
        let crash = match process {
            Process::Client(client) if state.clients[client] != ClientStep::Idle => {
                Some(Action::CrashClient { client })
            }
            Process::Collector(collector) if state.collectors[collector] != CollectorStep::Idle => {
                Some(Action::CrashCollector { collector })
            }
            _ => None,
        };
        let crash = crash.map(|step| Taken { contract: 0, step });
        let next = crash.and_then(|crash| self.next(&state, crash));
        Found {
            reads: reads.to_vec(),
            commit: [commit].into_iter().chain(crash).collect(),
            next: next.unwrap_or(state),
        }
    }

    /// Writes the steps found into the path: the reads where they were taken, the commit at the end.
    fn insert(&mut self, from: usize, found: Found) {
        let Found {
            reads: mut steps,
            mut commit,
            next,
        } = found;
        if from == self.path.len() {
            steps.append(&mut commit);
            return self.push(steps, next);
        }
        let earlier = &mut self.path[from];
        steps.append(&mut earlier.steps);
        earlier.steps = steps;
        let mut state = earlier.before;
        for followed in &mut self.path[from..] {
            followed.before = state;
            for step in &followed.steps {
                state = self.contracts[step.contract]
                    .next_state(&state, step.step)
                    .expect("the search has taken these steps");
            }
        }
        self.state = state;
        self.push(commit, next);
    }

    fn steps_of(&self, state: &State, process: Process, contract: usize) -> Vec<Taken> {
        let mut steps = Vec::new();
        self.contracts[contract].steps(state, &mut steps);
        steps.retain(|step| [process, Process::Any].contains(&process_of(step)));
        steps.into_iter().map(|step| Taken { contract, step }).collect()
    }

    fn used(&self, from: usize) -> impl Iterator<Item = Process> {
        let steps = self.path[from..].iter().flat_map(|followed| &followed.steps);
        steps.map(|taken| process_of(&taken.step))
    }

    /// A client that does nothing from there on, and holds nothing; the last one if all are busy.
    fn free_client(&self, from: usize) -> usize {
        let start = self
            .path
            .get(from)
            .map_or(&self.state, |followed| &followed.before);
        (0..CLIENTS - 1)
            .find(|&at| {
                start.clients[at] == ClientStep::Idle && !self.used(from).any(|it| it == Process::Client(at))
            })
            .unwrap_or(CLIENTS - 1)
    }

    fn free_collector(&self, from: usize) -> usize {
        let start = self
            .path
            .get(from)
            .map_or(&self.state, |followed| &followed.before);
        (0..COLLECTORS - 1)
            .find(|&at| {
                start.collectors[at] == CollectorStep::Idle
                    && !self.used(from).any(|it| it == Process::Collector(at))
            })
            .unwrap_or(COLLECTORS - 1)
    }
}

/// Most steps that a process takes before its commit: `clear_doomed` reads the entry and has unlinked.
const READS: usize = 2;

/// Most states that a divergence shows of what the model would do.
const REACHED_SHOWN: usize = 4;

fn process_of(step: &Action) -> Process {
    use Action::*;
    match *step {
        ReadForLease { client, .. }
        | Lease { client }
        | ReadForPut { client, .. }
        | PutManifest { client }
        | ReadForPublish { client, .. }
        | ReadClock { client }
        | Publish { client }
        | PublishOutcomeUnknown { client }
        | Despair { client }
        | StartReading { client, .. }
        | ReadForSuspect { client, .. }
        | MarkSuspect { client }
        | CrashClient { client } => Process::Client(client),
        CrashCollector { collector }
        | Examine { collector, .. }
        | DropPending { collector }
        | Requeue { collector }
        | Condemn { collector }
        | Remove { collector }
        | UnlinkCondemned { collector }
        | ExamineClaim { collector, .. }
        | Abandon { collector }
        | ExamineDoomed { collector, .. }
        | Unlink { collector }
        | ClearDoomed { collector } => Process::Collector(collector),
        _ => Process::Any,
    }
}

/// The name under which the code commits a step, or tells that bytes came or went.
fn commits(step: &Action) -> Option<&'static str> {
    use Action::*;
    Some(match step {
        DeleteRepository { .. } => "delete_repository",
        SweepRepository { .. } => "sweep_repository",
        Lease { .. } => "lease",
        PutManifest { .. } => "put_manifest",
        DeleteManifest { .. } => "delete_manifest",
        PurgeManifest { .. } => "purge_manifest",
        SweepManifest { .. } => "sweep_manifest",
        Undelete { .. } => "undelete",
        DeleteBlob { .. } => "delete_blob",
        Claim { .. } => "claim",
        LandWrite { .. } => "write",
        Touch { .. } => "touch",
        Cancel { .. } => "cancel",
        Publish { .. } => "publish",
        MarkSuspect { .. } => "mark_suspect",
        LoseBytes { .. } => "lose bytes",
        DropPending { .. } => "drop_pending",
        Requeue { .. } => "requeue",
        Condemn { .. } => "condemn",
        Remove { .. } => "remove",
        Abandon { .. } => "abandon",
        Unlink { .. } => "unlink",
        ClearDoomed { .. } => "clear_doomed",
        _ => return None,
    })
}

/// Whether the contracts differ in this.
fn differs(transition: &str) -> bool {
    matches!(
        transition,
        "delete_manifest" | "sweep_manifest" | "purge_manifest" | "undelete"
    )
}

/// Whether a process takes this step before its commit.
fn reads_for(transition: &str, step: &Action) -> bool {
    use Action::*;
    match transition {
        "lease" => matches!(step, ReadForLease { .. }),
        "put_manifest" => matches!(step, ReadForPut { .. }),
        "publish" => matches!(step, ReadForPublish { .. }),
        "mark_suspect" => matches!(step, ReadForSuspect { .. }),
        "drop_pending" | "requeue" | "condemn" | "remove" => matches!(step, Examine { .. }),
        "abandon" => matches!(step, ExamineClaim { .. }),
        "unlink" => matches!(step, ExamineDoomed { .. }),
        "clear_doomed" => matches!(step, ExamineDoomed { .. } | Unlink { .. }),
        "write" => matches!(step, BeginWrite { .. }),
        _ => false,
    }
}

/// Whether a process reads, or begins something, before its commit.
fn reads_before(transition: &str) -> bool {
    matches!(
        transition,
        "lease"
            | "put_manifest"
            | "publish"
            | "mark_suspect"
            | "drop_pending"
            | "requeue"
            | "condemn"
            | "remove"
            | "abandon"
            | "unlink"
            | "clear_doomed"
            | "write"
    )
}
