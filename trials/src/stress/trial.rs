//! A trial from its first request to the empty store.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use registry_storage::kv::EngineKind;
use serde::Serialize;

use super::blobs::Found;
use super::client::{Client, Lifetimes, Shared};
use super::content::{GROUPS, REPOSITORIES, TAGS};
use super::emptied::{self, Emptied};
use super::metrics::{Collected, Steps};
use super::workload;
use crate::crash::process::{Process, Program};
use crate::crash::random::Random;
use crate::mounted::Result;

/// Between two lines that say how far it is.
const TELL: Duration = Duration::from_secs(10);
/// How much longer things may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what the collector did.
const LOOK: Duration = Duration::from_millis(500);
/// How often a start is tried.
const STARTS: usize = 3;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of every choice.
    pub seed: u64,
    /// How long clients work.
    pub time: Duration,
    /// The mean time between two kills; never, if none.
    pub kill_every: Option<Duration>,
    /// Clients that push, pull and delete.
    pub clients: u64,
    /// Clients that read slowly.
    pub readers: u64,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// The control: the server is told to keep its promises for an eighth of what clients are told.
    pub control: bool,
    /// What keeps the records.
    pub engine: EngineKind,
    /// The server.
    pub program: Program,
    /// Where its data goes.
    pub data: PathBuf,
}

/// What a trial did and found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The seed of every choice.
    pub seed: u64,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// How often the server was killed.
    pub kills: u64,
    /// The longest time from a start to an address, in milliseconds.
    pub slowest_start_ms: f64,
    /// What happened how often.
    pub counts: BTreeMap<&'static str, u64>,
    /// What the collector did, as far as it told before it was killed.
    pub collected: Steps,
    /// Tags that were there in the end, and were pulled whole.
    pub tags_at_the_end: u64,
    /// How the store became empty.
    pub emptied: Option<Emptied>,
    /// Promises that were broken.
    pub violations: Vec<String>,
}

impl Lifetimes {
    /// As configuration keys.
    fn keys(&self) -> Vec<String> {
        let keys = [
            ("lifetimes.grace", self.grace),
            ("lifetimes.bucket", self.bucket),
            ("lifetimes.second_delay", self.second_delay),
            ("lifetimes.longest_read", self.second_delay),
            ("lifetimes.undo", self.undo),
            ("lifetimes.upload_idle", self.upload_idle),
            ("lifetimes.longest_write", self.longest_write),
            ("collector.interval", self.interval),
        ];
        keys.map(|(key, value)| format!("{key}={}ms", value.as_millis()))
            .into()
    }

    /// The longest that a blob which nobody wants stays, from the last request that was about it, on an idle machine.
    pub fn longest(&self) -> Duration {
        // Purging, condemning and dooming each hold things for a second delay more than asked for.
        self.grace
            + self.bucket
            + 3 * self.second_delay
            + 2 * self.longest_write
            + self.upload_idle
            + 6 * self.interval
    }
}

/// A server that is killed now and then.
struct Killed<'a> {
    options: &'a Options,
    process: Process,
    /// Where it tells what it did.
    admin: SocketAddr,
    collected: Collected,
    /// How far its log was read.
    read: u64,
    report: Report,
}

fn engine_name(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Sled => "sled",
        _ => "lmdb",
    }
}

/// Starts the server; where it listens, where it tells its metrics, and how long it took.
fn start(options: &Options) -> Result<(Process, SocketAddr, SocketAddr, Duration)> {
    for _ in 0..STARTS {
        // Free now; somebody may take it before the server does, and then another is tried.
        let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut program = options.program.clone();
        program.set.push(format!("admin.listen={admin}"));
        let mut process = program.start(&options.data)?;
        if let Some((address, took)) = process.address()? {
            return Ok((process, address, admin, took));
        }
    }
    Err("berth ended before it listened; its log says why".into())
}

/// Runs a trial.
///
/// # Errors
/// If there is no verdict, since something else failed than the registry.
pub fn run(options: &Options) -> Result<Report> {
    let began = Instant::now();
    let mut options = options.clone();
    let mut told = options.lifetimes;
    if options.control {
        (told.grace, told.bucket) = (told.grace / 8, told.bucket / 8);
    }
    let mut set = told.keys();
    // As fast as it can: what is to be found are races, not rates.
    set.extend(["collector.rate=0", "collector.workers=16"].map(str::to_owned));
    set.push(format!("records.engine={}", engine_name(options.engine)));
    set.append(&mut options.program.set);
    options.program.set = set;
    let (process, address, admin, _) = start(&options)?;
    let mut killed = Killed {
        options: &options,
        process,
        admin,
        collected: Collected::default(),
        read: 0,
        report: Report {
            seed: options.seed,
            ..Report::default()
        },
    };
    let shared = Shared::new(options.seed, options.lifetimes, address);
    thread::scope(|scope| {
        let shared = &shared;
        for number in 0..options.clients {
            scope.spawn(move || workload::work(shared, number));
        }
        for number in 0..options.readers {
            scope.spawn(move || workload::read_slowly(shared, options.clients + number));
        }
        scope.spawn(move || workload::clear_up(shared, options.clients + options.readers));
        let driven = killed.drive(shared, began);
        shared.stop();
        if driven.is_err() {
            // Nobody may go on waiting for a server that does not come.
            shared.serve_at(address);
        }
        driven
    })?;
    killed.conclude(&shared)?;
    let mut report = killed.report;
    report.collected = killed.collected.sum();
    report.counts = shared.counts();
    report.violations = shared.violations();
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

impl Killed<'_> {
    /// Kills and starts the server until the time is up or a promise is broken.
    fn drive(&mut self, shared: &Shared, began: Instant) -> Result<()> {
        let mut random = Random::of(&[self.options.seed, 7]);
        let end = began + self.options.time;
        let mut next_kill = self.next_kill(&mut random);
        let (mut told, mut looked) = (Instant::now(), Instant::now());
        while Instant::now() < end && !shared.over() {
            thread::sleep(Duration::from_millis(5));
            if !self.process.lives()? {
                return Err("berth ended by itself".into());
            }
            if next_kill.is_some_and(|at| Instant::now() >= at) {
                self.kill(shared)?;
                next_kill = self.next_kill(&mut random);
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.collected.look(self.admin);
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell(shared, began);
            }
        }
        Ok(())
    }

    fn next_kill(&self, random: &mut Random) -> Option<Instant> {
        let mean = self.options.kill_every?.as_millis() as u64;
        Some(Instant::now() + Duration::from_millis(mean / 4 + random.below(mean * 3 / 2)))
    }

    /// Kills the server under its clients and starts it again.
    fn kill(&mut self, shared: &Shared) -> Result<()> {
        self.collected.look(self.admin);
        shared.excuse();
        self.process.child.end()?;
        self.listen(shared)?;
        let (address, took) = self.start_again()?;
        self.report.kills += 1;
        self.report.slowest_start_ms = self.report.slowest_start_ms.max(took.as_secs_f64() * 1e3);
        shared.serve_at(address);
        Ok(())
    }

    fn start_again(&mut self) -> Result<(SocketAddr, Duration)> {
        self.collected.next();
        let (process, address, admin, took) = start(self.options)?;
        (self.process, self.admin) = (process, admin);
        Ok((address, took))
    }

    /// What the log says that it must not is a broken promise.
    fn listen(&mut self, shared: &Shared) -> Result<()> {
        let complaints = self.options.program.complaints(&mut self.read, false)?;
        if let Some(complaint) = complaints.first() {
            shared.broken(format!(
                "berth complained ({} lines): {complaint}",
                complaints.len()
            ));
        }
        Ok(())
    }

    fn tell(&self, shared: &Shared, began: Instant) {
        let counts = shared.counts();
        let of = |what| counts.get(what).copied().unwrap_or(0);
        let collected = self.collected.sum();
        let did = |step: &str| collected.get(step).copied().unwrap_or(0);
        eprintln!(
            "{:.0} s: {} kills; {} blobs pushed, {} skipped; {} manifests put, {} deleted; {} pulls, {} of them slow; {} \
             blobs condemned, {} removed; {} files",
            began.elapsed().as_secs_f64(),
            self.report.kills,
            of("blobs pushed"),
            of("blobs skipped because HEAD said yes"),
            of("manifests put"),
            of("manifests deleted"),
            of("tags pulled whole") + of("tags pulled whole, slowly"),
            of("tags pulled whole, slowly"),
            did("condemned"),
            did("removed"),
            emptied::files(&self.options.data).unwrap_or(0),
        );
    }

    /// After a last kill every tag is pulled whole; then all is deleted, and the store must become empty.
    fn conclude(&mut self, shared: &Shared) -> Result<()> {
        if shared.violations().is_empty() {
            if self.options.kill_every.is_some() {
                self.kill(shared)?;
            }
            let mut client = Client::new(shared, u64::MAX);
            for at in 0..REPOSITORIES {
                for group in 0..GROUPS {
                    for name in 0..TAGS {
                        let found = client.pull_tag(at, group, name, None);
                        self.report.tags_at_the_end += u64::from(found == Found::Yes);
                    }
                }
            }
            for at in 0..REPOSITORIES {
                for group in 0..GROUPS {
                    workload::clear(&mut client, at, group);
                }
            }
        }
        if shared.violations().is_empty() {
            let emptied = self.empty()?;
            self.listen(shared)?;
            let (berth, data) = (&self.options.program.berth, &self.options.data);
            let wrong = emptied::check(berth, data, engine_name(self.options.engine))?;
            for what in emptied.left().into_iter().chain(wrong) {
                shared.broken(format!("after all was deleted: {what}"));
            }
            let collected = self.collected.sum();
            for step in ["condemned", "removed", "unlinked", "abandoned"] {
                if collected.get(step).is_none_or(|count| *count == 0) {
                    shared.broken(format!("the collector worked for nothing: nothing was {step}"));
                }
            }
            self.report.emptied = Some(emptied);
        }
        Ok(())
    }

    /// Waits until the files of all blobs are gone, and stops the server. Blobs inside the records may take as long as
    /// those in files, and only a stopped server shows its records: so it may have to go on.
    fn empty(&mut self) -> Result<Emptied> {
        let longest = self.options.lifetimes.longest();
        let mut emptied = emptied::wait(&self.options.data, PATIENCE + 3 * longest)?;
        for try_again in [true, true, true, false] {
            thread::sleep(longest);
            self.collected.look(self.admin);
            self.stop()?;
            emptied.records = emptied::records(&self.options.data, self.options.engine)?;
            if emptied.records.is_empty() || !try_again {
                break;
            }
            self.start_again()?;
        }
        Ok(emptied)
    }

    /// Asks the server to stop, and waits until it has.
    fn stop(&mut self) -> Result<()> {
        crate::mounted::signal(&self.process.child.0, "TERM")?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.process.lives()? {
            if Instant::now() > deadline {
                return Err("berth did not stop within a minute".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "stress over HTTP, seed {}, {:.0} s, {} kills",
            self.seed, self.seconds, self.kills
        )?;
        for (what, count) in &self.counts {
            writeln!(f, "{count:>14}  {what}")?;
        }
        for (step, count) in &self.collected {
            writeln!(f, "{count:>14}  by the collector: {step}")?;
        }
        writeln!(f, "{:>14}  tags pulled whole at the end", self.tags_at_the_end)?;
        if let Some(emptied) = &self.emptied {
            writeln!(f, "{emptied}")?;
        }
        for violation in &self.violations {
            writeln!(f, "BROKEN: {violation}")?;
        }
        match self.violations.len() {
            0 => write!(f, "no promise was broken"),
            broken => write!(f, "{broken} promises were broken; seed {}", self.seed),
        }
    }
}
