//! Rounds: load, an end at the worst moment, a new start, and the judgement.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Round, Upload};
use super::content::{REPOSITORIES, SLOTS, Universe};
use super::doubt::doubt;
use super::ending::finish;
use super::history::{History, Judgement, Opening, Record, SHELVES, Violation};
use super::power::{Cut, Disks};
use super::process::{Process, Program};
use super::random::Random;
use super::report::Report;
use super::shelf::{Action, Outcome, State};
use super::verify::{self, Touched};
use super::workload::{self, Load};
use crate::mounted::{Result, run};

/// After so many rounds everything is read again, not only what was touched.
const EVERYTHING_AFTER: u64 = 50;

/// How often it is started again after it was ended while it started.
const STARTS_MAX: u64 = 3;

/// What a trial is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of every choice.
    pub seed: u64,
    /// Clients at once.
    pub clients: u64,
    /// How to run the server.
    pub program: Program,
    /// The control: each round's data is put back to what it was before. It must be found out.
    pub forget: bool,
    /// Where its data, its log and failing histories go.
    pub directory: PathBuf,
}

/// A server's data, and what is known to be in it.
pub struct Trial {
    options: Options,
    universe: Universe,
    disks: Option<Disks>,
    states: Vec<State>,
    unfinished: Mutex<VecDeque<Upload>>,
    process: Option<Process>,
    /// How much of the server's log was looked at.
    log_read: u64,
    report: Report,
}

/// The rest of a round, after its load.
struct After {
    began: Instant,
    records: Vec<Record>,
    ending: String,
    cut: Option<(u64, u64)>,
    initial: Vec<State>,
}

impl Trial {
    /// A trial of a new store: on disks of its own whose power can be cut, or in a directory.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new(options: Options, disks: Option<Disks>) -> Result<Self> {
        fs::create_dir_all(options.directory.join("data"))?;
        Ok(Trial {
            universe: Universe::new(options.seed),
            states: vec![State::default(); SHELVES],
            unfinished: Mutex::default(),
            process: None,
            log_read: 0,
            report: Report::default(),
            options,
            disks,
        })
    }

    /// What was found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn data(&self) -> PathBuf {
        self.options.directory.join("data")
    }

    /// Runs a round; `false` if a promise was broken, and the data must stay as it is.
    ///
    /// # Errors
    /// If the trial itself fails.
    pub fn round(&mut self, round: u64) -> Result<bool> {
        let mut random = Random::of(&[self.options.seed, 2, round]);
        let began = Instant::now();
        let cut = self.disks.is_some().then(|| Cut::of(round));
        if matches!(cut, Some(Cut::WhileCreated)) {
            self.start_anew()?;
        }
        let mut after = After {
            began,
            records: Vec::new(),
            ending: cut.map_or("SIGKILL under load".to_owned(), |cut| cut.name().to_owned()),
            cut: None,
            initial: self.states.clone(),
        };
        let before = self.options.directory.join("before");
        if self.options.forget {
            self.end()?;
            copy(&self.data(), &before)?;
        }
        self.load(round, cut, &mut random, &mut after)?;
        if self.options.forget {
            copy(&before, &self.data())?;
        }
        self.report.ended(&after.ending);
        if matches!(cut, Some(Cut::AfterReopening)) {
            let address = match self.up()? {
                Some(address) => address,
                None => return self.unstartable(round, after),
            };
            self.read_back(address, &mut after, false)?;
            self.disks_mut()?.cut(&mut random)?;
            self.end()?;
        }
        if let Some(disks) = &mut self.disks {
            disks.restore()?;
        }
        self.end_while_starting(&mut random)?;
        let Some(address) = self.up()? else {
            return self.unstartable(round, after);
        };
        let everything = (round + 1).is_multiple_of(EVERYTHING_AFTER);
        self.read_back(address, &mut after, everything)?;
        let judged = self.judge(round, after)?;
        self.report.rounds += 1;
        Ok(judged)
    }

    /// Reads everything once more, with every byte, and stops the server.
    ///
    /// # Errors
    /// If the trial itself fails.
    pub fn last(&mut self, round: u64) -> Result<bool> {
        let mut after = After {
            began: Instant::now(),
            records: Vec::new(),
            ending: "nothing: the last reading of everything".to_owned(),
            cut: None,
            initial: self.states.clone(),
        };
        let Some(address) = self.up()? else {
            return self.unstartable(round, after);
        };
        self.read_back(address, &mut after, true)?;
        let kept = self.judge(round, after)?;
        self.end()?;
        Ok(kept)
    }

    /// Whether the ends were ends: nothing is proved by power cuts after which nothing is missing.
    pub fn cuts_cut(&self) -> bool {
        self.disks.as_ref().is_none_or(Disks::cuts_cut)
    }

    /// Ends the server and unmounts its disks; removes its data unless it shows a failure.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub fn clear(mut self) -> Result<Report> {
        self.end()?;
        self.disks = None;
        if self.report.violations == 0 {
            fs::remove_dir_all(&self.options.directory)?;
        }
        Ok(std::mem::take(&mut self.report))
    }

    fn disks_mut(&mut self) -> Result<&mut Disks> {
        self.disks
            .as_mut()
            .ok_or_else(|| "no disk whose power could be cut".into())
    }

    /// Runs the clients against the server and ends it.
    fn load(&mut self, round: u64, cut: Option<Cut>, random: &mut Random, after: &mut After) -> Result<()> {
        let fresh = matches!(cut, Some(Cut::WhileCreated));
        let window = Duration::from_micros(match random.below(3) {
            _ if fresh => random.below(80_000),
            // Commits are slow there, and what was acknowledged right before the cut is doubted.
            _ if cut.is_some() => 30_000 + random.below(470_000),
            0 => 2_000 + random.below(30_000),
            _ => 10_000 + random.below(240_000),
        });
        if fresh {
            // The store is being made while the power goes; whoever is quick enough may push already.
            self.process = Some(self.options.program.start(&self.data())?);
        } else {
            self.up()?
                .ok_or("berth ended by itself between two rounds; its log says why")?;
        }
        let mut process = self.process.take().ok_or("no server runs")?;
        let (excused, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let hot: Vec<usize> = (0..4).map(|_| random.below(SHELVES as u64) as usize).collect();
        let (seed, clients) = (self.options.seed, self.options.clients);
        let (universe, unfinished) = (&self.universe, &self.unfinished);
        let disks = &mut self.disks;
        let heard = Mutex::new(None);
        let clients_at = |address: SocketAddr| -> Vec<Record> {
            let load = Load {
                round: Round {
                    universe,
                    address,
                    began: after.began,
                    excused: &excused,
                },
                hot: hot.clone(),
                unfinished,
                over: &over,
            };
            let load = &load;
            thread::scope(|scope| {
                let workers: Vec<_> = (0..clients)
                    .map(|thread| {
                        let random = Random::of(&[seed, 3, round, thread]);
                        scope.spawn(move || workload::work(load, thread, random))
                    })
                    .collect();
                let mut records = Vec::new();
                let mut hashed = 0;
                for worker in workers {
                    let client = worker.join().map_err(|_| ()).expect("a client does not panic");
                    hashed += client.hashed;
                    records.extend(client.records);
                }
                *heard.lock().expect("nobody panics with it") = Some(hashed);
                records
            })
        };
        let known = process.known_address();
        // Of a new store the address comes, if it does, while the clock runs.
        let said = fresh.then(|| process.take_address());
        let clients_at = &clients_at;
        let (records, outcome) = thread::scope(|scope| {
            let clients = scope.spawn(move || {
                let said = said.map(|said| said.recv().ok().flatten().map(|(address, _)| address));
                said.unwrap_or(known).map(clients_at).unwrap_or_default()
            });
            thread::sleep(window);
            let outcome = finish(&mut process, disks, cut, random, &excused, &over);
            (clients.join(), outcome)
        });
        let (lived, cut) = outcome?;
        after.cut = cut.map(|cut| {
            let nanoseconds = |moment: Instant| moment.duration_since(after.began).as_nanos() as u64;
            (nanoseconds(cut.0), nanoseconds(cut.1))
        });
        let mut records = records.map_err(|_| "a client panicked")?;
        if let Some(cut) = after.cut {
            let mut unfinished = unfinished.lock().expect("nobody panics with it");
            doubt(&mut records, &mut unfinished.iter_mut(), cut);
        }
        let ended = after.began.elapsed().as_nanos() as u64;
        for record in records
            .iter_mut()
            .filter(|record| record.outcome == Outcome::Unknown)
        {
            record.ended = ended;
        }
        if !lived {
            records.push(broken(ended, "the server ended by itself".to_owned()));
        }
        self.report.bytes_hashed += heard.into_inner().ok().flatten().unwrap_or(0);
        after.records.extend(records);
        Ok(())
    }

    /// Starts the server, unless it runs, and waits for its address; `None` if it ends before it has one.
    fn up(&mut self) -> Result<Option<SocketAddr>> {
        if let Some(address) = self.process.as_ref().and_then(Process::known_address) {
            return Ok(Some(address));
        }
        let mut process = self.options.program.start(&self.data())?;
        let Some((address, took)) = process.address()? else {
            return Ok(None);
        };
        self.report.started(took);
        self.process = Some(process);
        Ok(Some(address))
    }

    fn end(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.child.end(),
            None => Ok(()),
        }
    }

    /// Sometimes it is killed again, while it starts or as soon as it has.
    fn end_while_starting(&mut self, random: &mut Random) -> Result<()> {
        if !random.chance(25) {
            return Ok(());
        }
        for _ in 0..1 + random.below(STARTS_MAX) {
            if random.chance(30) {
                if self.up()?.is_none() {
                    // Told as what it is by the start that follows, which must succeed.
                    return Ok(());
                }
                self.end()?;
                self.report.ended("SIGKILL as soon as it listened");
            } else {
                let mut process = self.options.program.start(&self.data())?;
                thread::sleep(Duration::from_micros(random.below(30_000)));
                process.child.end()?;
                self.report.ended("SIGKILL while it started");
            }
        }
        Ok(())
    }

    /// Reads from outside what is there: what was touched, or everything.
    fn read_back(&mut self, address: SocketAddr, after: &mut After, everything: bool) -> Result<()> {
        let touched: [Touched; SHELVES] = match everything {
            true => verify::everything(),
            false => verify::touched(&after.records, |slot| *self.universe.layout(slot)),
        };
        let never = AtomicBool::new(false);
        let round = Round {
            universe: &self.universe,
            address,
            began: after.began,
            excused: &never,
        };
        let (round, unfinished, power) = (&round, &self.unfinished, self.disks.is_some());
        let readers: Vec<Client<'_>> = thread::scope(|scope| {
            let readers: Vec<_> = (0..REPOSITORIES)
                .map(|repository| {
                    scope.spawn(move || {
                        let mut client = Client::new(round, 100 + repository as u64);
                        let shelves = repository * SLOTS..(repository + 1) * SLOTS;
                        if shelves.clone().any(|shelf| touched[shelf].any) {
                            client.list_tags(repository);
                        }
                        for shelf in shelves.filter(|shelf| touched[*shelf].any) {
                            verify::read_shelf(&mut client, shelf, touched[shelf]);
                        }
                        if repository == 0 {
                            verify::read_uploads(&mut client, unfinished, power);
                        }
                        client
                    })
                })
                .collect();
            readers
                .into_iter()
                .map(|reader| reader.join().map_err(|_| ()).expect("a reader does not panic"))
                .collect()
        });
        let mut hashed = 0;
        for client in readers {
            hashed += client.hashed;
            for record in &client.records {
                if let Outcome::State(state) = record.outcome {
                    self.states[record.shelf] = state;
                }
            }
            after.records.extend(client.records);
        }
        self.report.bytes_hashed += hashed;
        Ok(())
    }

    fn unstartable(&mut self, round: u64, mut after: After) -> Result<bool> {
        let now = after.began.elapsed().as_nanos() as u64;
        after
            .records
            .push(broken(now, "the server did not start again".to_owned()));
        self.judge(round, after)
    }

    /// Judges the round; a failing one is told and kept.
    fn judge(&mut self, round: u64, mut after: After) -> Result<bool> {
        let now = after.began.elapsed().as_nanos() as u64;
        let disks_fail = self.disks.is_some();
        for line in self.options.program.complaints(&mut self.log_read, disks_fail)? {
            after
                .records
                .push(broken(now, format!("the log complains: {line}")));
        }
        after.records.sort_by_key(|record| record.invoked);
        self.report.count(&after.records);
        let history = History {
            opening: Opening {
                seed: self.options.seed,
                round,
                ending: after.ending,
                cut: after.cut,
                layouts: self.universe.layouts(),
                states: after.initial,
            },
            records: after.records,
        };
        let Judgement {
            violations,
            undecided,
        } = history.judge();
        self.report.undecided += undecided;
        if violations.is_empty() {
            return Ok(true);
        }
        self.report.violations += violations.len() as u64;
        let kept = self.options.directory.join(format!("round-{round}.jsonl"));
        history.write(std::io::BufWriter::new(fs::File::create(&kept)?))?;
        self.report.failures.push(format!("{}", kept.display()));
        tell(&history.opening, &violations);
        eprintln!(
            "the history is in {}, the data and the log beside it",
            kept.display()
        );
        self.end()?;
        Ok(false)
    }

    /// Removes the store, and what is known of it.
    fn start_anew(&mut self) -> Result<()> {
        self.end()?;
        self.disks_mut()?.empty()?;
        self.states = vec![State::default(); SHELVES];
        self.unfinished.lock().expect("nobody panics with it").clear();
        Ok(())
    }
}

/// Something of the server itself that must not be.
fn broken(at: u64, what: String) -> Record {
    Record {
        thread: 0,
        kind: "the server".to_owned(),
        shelf: 0,
        action: Action::Observe,
        outcome: Outcome::Wrong(what),
        invoked: at,
        ended: at,
    }
}

/// Puts a copy of one directory in the place of another.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    run(Command::new("cp").arg("-a").arg(from).arg(to))
}

/// Prints what was violated.
pub fn tell(opening: &Opening, violations: &[Violation]) {
    eprintln!(
        "seed {}, round {}, ended by {}: {} violations",
        opening.seed,
        opening.round,
        opening.ending,
        violations.len()
    );
    for violation in violations {
        eprint!("  {violation}");
    }
}
