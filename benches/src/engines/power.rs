//! What survives a power cut.
//!
//! A file system in a loop-mounted image is shut down under a process that commits numbered transactions;
//! nothing that was not synced outlives that. The image is mounted again and the store compared with what was
//! acknowledged, and with what a reader had seen. It needs root, `unshare`, `mount`, `xfs_io` and the two `mkfs`.
//!
//! Everything is mounted in a mount namespace of its own, so that no mount outlives the trial, however it ends.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use trials::mounted::{Ended, FileSystem, Mounted, run, shut_down, signal, write_back};

use super::{
    EngineKind, Result,
    child::{Ledger, Role, Store, spawn},
    corpus::Random,
    open::{heard, verified},
};

/// Acknowledges what is not durable. A trial that does not catch it has proved nothing about the others.
const CONTROL: EngineKind = EngineKind::FjallUnsynced;

/// Threads that commit when the power goes.
const WRITERS: u64 = 4;

/// Size of each image in MiB.
const IMAGE_MIB: u64 = 512;

/// How long a process may take to reach the state in which the power is cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the power trial is told.
#[derive(Clone, Debug)]
pub struct PowerOptions {
    /// The engines, run in turn within each round.
    pub engines: Vec<EngineKind>,
    /// Power cuts for each engine and file system.
    pub rounds: u64,
    /// Cache that an engine may keep for itself, in MiB.
    pub cache_mib: usize,
    /// Seed of every random choice.
    pub seed: u64,
}

/// The moment at which the power goes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// While a new store is being made.
    WhileCreated,
    /// Under running writers.
    WhileWriting,
    /// With the writers stopped between two of their system calls, after the kernel has written back a random
    /// part of what was not synced.
    PartlyWrittenBack,
    /// After the writers were killed and another process has opened the store and read it.
    AfterReopening,
}

impl Cut {
    const CYCLE: [Cut; 5] = [
        Cut::WhileCreated,
        Cut::PartlyWrittenBack,
        Cut::WhileWriting,
        Cut::AfterReopening,
        Cut::PartlyWrittenBack,
    ];
}

/// The sums over one engine's rounds on one file system.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PowerRow {
    engine: EngineKind,
    file_system: FileSystem,
    cuts: u64,
    acknowledged: u64,
    lost: u64,
    seen: u64,
    seen_lost: u64,
    torn: u64,
    unacknowledged_kept: u64,
    slowest_open_ms: f64,
    failures: Vec<String>,
    breaks: Vec<String>,
}

/// The table of the power trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PowerReport {
    rows: Vec<PowerRow>,
}

/// Runs the trial in a mount namespace of its own, by way of this program's `power-here`.
pub fn power(options: &PowerOptions, directory: &Path) -> Result<PowerReport> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?);
    command.args([
        "power-here",
        "--rounds",
        &options.rounds.to_string(),
        "--seed",
        &options.seed.to_string(),
    ]);
    command
        .args(["--cache-mib", &options.cache_mib.to_string(), "--directory"])
        .arg(directory);
    for engine in &options.engines {
        command.args(["--engine", engine.name()]);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the power trial needs root, unshare, mount, xfs_io, mkfs.ext4 and mkfs.xfs".into());
    }
    let report: PowerReport = serde_json::from_slice(&output.stdout)?;
    if report.kept().get(&CONTROL) != Some(&false) {
        return Err(
            format!("{report}\nthe control lost nothing, so the cuts cut nothing: no verdict").into(),
        );
    }
    Ok(report)
}

/// Runs the trial in the current mount namespace.
pub fn power_here(options: &PowerOptions, directory: &Path) -> Result<PowerReport> {
    let mut benches = Vec::new();
    for file_system in FileSystem::ALL {
        for &engine in options.engines.iter().chain([&CONTROL]) {
            benches.push(Bench::new(engine, file_system, options, directory)?);
        }
    }
    let mut random = Random::new(options.seed);
    for round in 0..options.rounds {
        eprintln!("power: round {} of {}", round + 1, options.rounds);
        for bench in &mut benches {
            bench.round(round, &mut random)?;
        }
    }
    Ok(PowerReport {
        rows: benches.into_iter().map(|bench| bench.row).collect(),
    })
}

/// One engine on one image.
struct Bench {
    image: PathBuf,
    mount_point: PathBuf,
    scratch: PathBuf,
    cache_mib: usize,
    ledger: Ledger,
    row: PowerRow,
}

impl Bench {
    fn new(
        engine: EngineKind,
        file_system: FileSystem,
        options: &PowerOptions,
        directory: &Path,
    ) -> Result<Self> {
        let scratch = directory.join(format!("{engine}-{}", file_system.name()));
        let (image, mount_point) = (scratch.join("image"), scratch.join("mounted"));
        fs::create_dir_all(&mount_point)?;
        file_system.make(&image, IMAGE_MIB)?;
        let row = PowerRow {
            engine,
            file_system,
            cuts: 0,
            acknowledged: 0,
            lost: 0,
            seen: 0,
            seen_lost: 0,
            torn: 0,
            unacknowledged_kept: 0,
            slowest_open_ms: 0.0,
            failures: Vec::new(),
            breaks: Vec::new(),
        };
        let ledger = Ledger::default();
        Ok(Bench {
            image,
            mount_point,
            scratch,
            cache_mib: options.cache_mib,
            ledger,
            row,
        })
    }

    fn store(&self) -> Store {
        Store::new(self.row.engine, &self.home(), self.cache_mib)
    }

    fn home(&self) -> PathBuf {
        self.mount_point.join("store")
    }

    fn round(&mut self, round: u64, random: &mut Random) -> Result<()> {
        let cut = Cut::CYCLE[(round % Cut::CYCLE.len() as u64) as usize];
        {
            let mounted = Mounted::new(&self.image, &self.mount_point)?;
            if matches!(cut, Cut::WhileCreated) {
                self.start_anew()?;
            }
            let first = (round + 1) * Role::RUN;
            self.ledger.runs.push(first);
            self.cut(cut, first, random)?;
            drop(mounted);
        }
        let _mounted = Mounted::new(&self.image, &self.mount_point)?;
        self.row.cuts += 1;
        match verified(&self.store(), &self.ledger, &self.scratch) {
            Ok(found) => {
                self.row.lost += found.lost;
                self.row.seen_lost += found.seen_lost;
                self.row.torn += found.torn;
                self.row.unacknowledged_kept += found.unacknowledged_kept;
                self.row.slowest_open_ms = self.row.slowest_open_ms.max(found.open_millis);
                if found.lost + found.seen_lost + found.torn > 0 {
                    self.row.breaks.push(format!(
                        "round {round}, {cut:?}: {} lost, {} kept after the first of them; {} seen and lost; {} torn",
                        found.lost, found.kept_after_loss, found.seen_lost, found.torn
                    ));
                    // Counted once, not again in each round that follows.
                    self.start_anew()?;
                }
            }
            Err(error) => {
                let promised = self.ledger.acknowledged.len();
                self.row.failures.push(format!(
                    "round {round}, {cut:?}, {promised} acknowledged: {error}"
                ));
                // The next rounds need a store; this one has told what it could.
                self.start_anew()?;
            }
        }
        Ok(())
    }

    /// Removes the store, durably, and forgets what it promised.
    fn start_anew(&mut self) -> Result<()> {
        self.ledger = Ledger::default();
        if self.home().exists() {
            fs::remove_dir_all(self.home())?;
            run(Command::new("sync").arg("--file-system").arg(&self.mount_point))?;
        }
        Ok(())
    }

    /// Commits until the chosen moment, cuts the power, and enters into the ledger what was promised.
    fn cut(&mut self, cut: Cut, first: u64, random: &mut Random) -> Result<()> {
        let arguments = [("first", first.to_string()), ("writers", WRITERS.to_string())];
        let (writer, output) = spawn(&self.store(), "write", &arguments)?;
        let mut writer = Ended(writer);
        let (opened, is_open) = mpsc::channel();
        let listener = thread::spawn(move || {
            heard(BufReader::new(output).lines().inspect(|line| {
                if line.as_ref().is_ok_and(|line| line == "o 0") {
                    // Nobody waits for this when the store is cut off while it is made.
                    let _ = opened.send(());
                }
            }))
        });
        if matches!(cut, Cut::WhileCreated) {
            thread::sleep(Duration::from_micros(random.below(60_000)));
        } else {
            is_open
                .recv_timeout(PATIENCE)
                .map_err(|_| "the writer did not open its store")?;
            thread::sleep(Duration::from_micros(20_000 + random.below(250_000)));
        }
        match cut {
            Cut::WhileCreated => shut_down(&self.mount_point)?,
            Cut::WhileWriting => {
                shut_down(&self.mount_point)?;
                // Whatever is acknowledged from now on counts too, and cannot be kept.
                thread::sleep(Duration::from_millis(30));
            }
            Cut::PartlyWrittenBack => {
                signal(&writer.0, "STOP")?;
                self.write_back_partly(random)?;
                shut_down(&self.mount_point)?;
            }
            Cut::AfterReopening => {
                signal(&writer.0, "STOP")?;
            }
        }
        writer.end()?;
        let (acknowledged, seen) = listener.join().map_err(|_| "the listener panicked")?;
        self.row.acknowledged += acknowledged.len() as u64;
        self.row.seen += seen.len() as u64;
        self.ledger.acknowledged.extend(acknowledged);
        self.ledger.seen.extend(seen);
        if matches!(cut, Cut::AfterReopening) {
            self.reopen_read_and_shut_down()?;
        }
        Ok(())
    }

    /// Another process opens the store that a killed one left, and reads from it; it dies with the power.
    fn reopen_read_and_shut_down(&mut self) -> Result<()> {
        let ledger = self.scratch.join("before-cut.json");
        fs::write(&ledger, serde_json::to_vec(&self.ledger)?)?;
        let (reader, output) = spawn(
            &self.store(),
            "revisit",
            &[("ledger", ledger.display().to_string())],
        )?;
        let mut reader = Ended(reader);
        let mut lines = BufReader::new(output).lines().map_while(std::result::Result::ok);
        let mut spoken = Vec::new();
        let held = loop {
            match lines.next() {
                Some(line) if line == "h 0" => break true,
                Some(line) => spoken.push(Ok(line)),
                None => break false,
            }
        };
        if !held {
            self.row
                .failures
                .push("a store could not be read after SIGKILL".to_owned());
        }
        let (_, seen) = heard(spoken.into_iter());
        self.row.seen += seen.difference(&self.ledger.seen).count() as u64;
        self.ledger.seen.extend(seen);
        shut_down(&self.mount_point)?;
        reader.end()
    }

    fn write_back_partly(&self, random: &mut Random) -> Result<()> {
        let mut pending = vec![self.home()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    pending.push(entry.path());
                    continue;
                }
                // Half of the runs, chosen by chance, over the whole file.
                write_back(&entry.path(), entry.metadata()?.len(), 4096, || {
                    random.below(2) == 0
                })?;
            }
        }
        Ok(())
    }
}

impl PowerReport {
    /// Whether every promise was kept: nothing lost, nothing torn, and every store opened again.
    pub fn kept(&self) -> BTreeMap<EngineKind, bool> {
        let mut kept = BTreeMap::new();
        for row in &self.rows {
            let good = row.lost + row.seen_lost + row.torn == 0 && row.failures.is_empty();
            *kept.entry(row.engine).or_insert(true) &= good;
        }
        kept
    }
}

impl fmt::Display for PowerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Power cuts")?;
        writeln!(
            f,
            "{:<17} {:<5} {:>5} {:>8} {:>6} {:>8} {:>10} {:>6} {:>13} {:>9} {:>13}",
            "engine",
            "fs",
            "cuts",
            "acked",
            "lost",
            "seen",
            "seen, lost",
            "torn",
            "unacked kept",
            "failures",
            "worst open ms"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<17} {:<5} {:>5} {:>8} {:>6} {:>8} {:>10} {:>6} {:>13} {:>9} {:>13.1}",
                row.engine,
                row.file_system.name(),
                row.cuts,
                row.acknowledged,
                row.lost,
                row.seen,
                row.seen_lost,
                row.torn,
                row.unacknowledged_kept,
                row.failures.len(),
                row.slowest_open_ms
            )?;
        }
        for row in &self.rows {
            let breaks = row.breaks.iter().filter(|_| row.engine != CONTROL);
            for failure in row.failures.iter().chain(breaks) {
                writeln!(f, "  {} on {}: {failure}", row.engine, row.file_system.name())?;
            }
        }
        for (engine, kept) in self.kept() {
            let note = if engine == CONTROL {
                " (the control, as it must)"
            } else {
                ""
            };
            writeln!(
                f,
                "  {engine}: {}",
                if kept {
                    "kept every promise"
                } else {
                    "broke a promise"
                }
                .to_owned()
                    + note
            )?;
        }
        Ok(())
    }
}
