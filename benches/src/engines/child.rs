//! The processes that the trial starts, measures from outside, kills, and cuts off from their disk.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Subcommand;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Engine, EngineKind, Record, Result,
    corpus::{Corpus, Random, transaction},
    group::GroupCommit,
    measure::{PeakMemory, cpu_micros, disk_mib, rss_anon_kib},
};

/// Where a child finds its store.
#[derive(Clone, Debug, clap::Args)]
pub struct Store {
    #[arg(long)]
    engine: EngineKind,
    #[arg(long)]
    directory: PathBuf,
    #[arg(long, default_value_t = 16)]
    cache_mib: usize,
}

impl Store {
    pub(super) fn new(engine: EngineKind, directory: &Path, cache_mib: usize) -> Self {
        Store {
            engine,
            directory: directory.to_path_buf(),
            cache_mib,
        }
    }

    fn open(&self) -> Result<Arc<dyn Engine>> {
        Ok(Arc::from(self.engine.open(&self.directory, self.cache_mib)?))
    }
}

/// What a child process does; the trial runs itself with one of these.
#[allow(
    missing_docs,
    reason = "the arguments say what they are, and only the trial passes them"
)]
#[derive(Clone, Debug, Subcommand)]
pub enum Role {
    /// Loads the corpus in durable commits of 1,000 keys.
    Load {
        #[command(flatten)]
        store: Store,
        #[arg(long)]
        keys: u64,
    },
    /// Opens the store and answers one GET of a manifest by tag.
    FirstGet {
        #[command(flatten)]
        store: Store,
        #[arg(long)]
        keys: u64,
        #[arg(long)]
        manifest: u64,
    },
    /// Commits numbered transactions until it is stopped; prints `a N` for each acknowledged, `s N` for each seen.
    Write {
        #[command(flatten)]
        store: Store,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        writers: u64,
    },
    /// Opens a store, prints `s N` for each transaction it sees, then `held`, and stays.
    Revisit {
        #[command(flatten)]
        store: Store,
        #[arg(long)]
        ledger: PathBuf,
    },
    /// Compares a store with what was acknowledged and seen.
    Verify {
        #[command(flatten)]
        store: Store,
        #[arg(long)]
        ledger: PathBuf,
    },
    /// Measures commits, reads, and scans for `millis` each.
    Measure {
        #[command(flatten)]
        store: Store,
        #[arg(long)]
        keys: u64,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        millis: u64,
    },
}

/// What loading cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    pub(super) seconds: f64,
    pub(super) peak_anon_mib: f64,
    pub(super) disk_mib: f64,
}

/// What the first answer cost, inside the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FirstGet {
    pub(super) open_micros: u64,
    pub(super) get_micros: u64,
    pub(super) anon_mib: f64,
}

/// Rates per second; CPU in microseconds for one operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rates {
    pub(super) commits_1: f64,
    pub(super) commits_1_cpu: f64,
    pub(super) commits_32: f64,
    pub(super) commits_32_cpu: f64,
    pub(super) reads_2: f64,
    pub(super) reads_cpu: f64,
    pub(super) pages_2: f64,
    pub(super) peak_anon_mib: f64,
}

/// What must be found in a store, and which numbers may be found in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub(super) acknowledged: BTreeSet<u64>,
    pub(super) seen: BTreeSet<u64>,
    /// The first number of each run of a writer.
    pub(super) runs: Vec<u64>,
}

impl Ledger {
    /// Every number that may have reached the store: of each run, up to some way beyond the last one heard of.
    fn issued(&self) -> impl Iterator<Item = u64> + '_ {
        const UNHEARD: u64 = 512;
        self.runs.iter().flat_map(|&first| {
            let run = first..first + Role::RUN;
            let heard = |set: &BTreeSet<u64>| set.range(run.clone()).next_back().copied().unwrap_or(first);
            first..=heard(&self.acknowledged).max(heard(&self.seen)) + UNHEARD
        })
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Verified {
    pub(super) open_millis: f64,
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
    pub(super) seen: u64,
    pub(super) seen_lost: u64,
    pub(super) torn: u64,
    pub(super) unacknowledged_kept: u64,
    /// How many acknowledged transactions have higher numbers than the first lost one, and were kept.
    pub(super) kept_after_loss: u64,
}

impl Role {
    /// Numbers set aside for one run of a writer.
    pub(super) const RUN: u64 = 1 << 32;

    /// Does what the role says, in this process.
    pub fn run(self) -> Result<()> {
        match self {
            Role::Load { store, keys } => print(&load(&store, Corpus::new(keys))?),
            Role::FirstGet {
                store,
                keys,
                manifest,
            } => print(&first_get(&store, Corpus::new(keys), manifest)?),
            Role::Write {
                store,
                first,
                writers,
            } => write(&store, first, writers),
            Role::Revisit { store, ledger } => revisit(&store, &ledger),
            Role::Verify { store, ledger } => print(&verify(&store, &ledger)?),
            Role::Measure {
                store,
                keys,
                first,
                millis,
            } => print(&measure(
                &store,
                Corpus::new(keys),
                first,
                Duration::from_millis(millis),
            )?),
        }
    }
}

/// Starts this program again in the role that `arguments` name, with its standard output to read from.
pub(super) fn spawn(store: &Store, role: &str, arguments: &[(&str, String)]) -> Result<(Child, ChildStdout)> {
    let mut child = command(store, role, arguments)?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().ok_or("no pipe from the child")?;
    Ok((child, output))
}

/// Runs a role to its end and reads its report.
pub(super) fn report<T: DeserializeOwned>(
    store: &Store,
    role: &str,
    arguments: &[(&str, String)],
) -> Result<T> {
    let output = command(store, role, arguments)?.output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{role} on {}: {}: {}",
            store.engine,
            output.status,
            complaint.trim()
        )
        .into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn command(store: &Store, role: &str, arguments: &[(&str, String)]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", role, "--engine", store.engine.name(), "--directory"])
        .arg(&store.directory);
    command.args(["--cache-mib", &store.cache_mib.to_string()]);
    for (name, value) in arguments {
        command.args([&format!("--{name}"), value]);
    }
    command.stdin(Stdio::null());
    Ok(command)
}

fn print(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

fn load(store: &Store, corpus: Corpus) -> Result<Loaded> {
    let peak = PeakMemory::watch();
    let start = Instant::now();
    {
        let engine = store.open()?;
        let mut batch: Vec<Record> = Vec::new();
        for manifest in 0..corpus.manifests() {
            batch.extend(corpus.push(manifest));
            if batch.len() >= 1000 || manifest + 1 == corpus.manifests() {
                engine.commit(&batch)?;
                batch.clear();
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Loaded {
        seconds,
        peak_anon_mib: peak.mib(),
        disk_mib: disk_mib(&store.directory)?,
    })
}

fn first_get(store: &Store, corpus: Corpus, manifest: u64) -> Result<FirstGet> {
    let start = Instant::now();
    let engine = store.open()?;
    let open_micros = start.elapsed().as_micros() as u64;
    let start = Instant::now();
    if !corpus.get_by_tag(manifest, |key| engine.get(key))? {
        return Err("the manifest is not there".into());
    }
    let get_micros = start.elapsed().as_micros() as u64;
    Ok(FirstGet {
        open_micros,
        get_micros,
        anon_mib: rss_anon_kib()? as f64 / 1024.0,
    })
}

fn write(store: &Store, first: u64, writers: u64) -> Result<()> {
    let engine = store.open()?;
    say('o', 0)?;
    let group = GroupCommit::start(engine.clone());
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let under_way = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut under_way) = under_way.lock() {
                        under_way.insert(n);
                    }
                    if group
                        .commit(transaction(n).to_vec())
                        .and_then(|()| say('a', n))
                        .is_err()
                    {
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        // The reader that must never see what a power cut can take back.
        while !failed.load(Ordering::Relaxed) {
            let watched: Vec<u64> = under_way
                .lock()
                .map(|under_way| under_way.iter().copied().collect())
                .unwrap_or_default();
            for n in watched {
                let Ok(seen) = engine.get(&transaction(n)[0].key) else {
                    return;
                };
                if seen.is_none() {
                    continue;
                }
                if let Ok(mut under_way) = under_way.lock() {
                    under_way.remove(&n);
                }
                if say('s', n).is_err() {
                    return;
                }
            }
        }
    });
    Err("the store refused a commit".into())
}

/// One line, in one write.
fn say(what: char, n: u64) -> Result<()> {
    Ok(io::stdout().write_all(format!("{what} {n}\n").as_bytes())?)
}

fn revisit(store: &Store, ledger: &Path) -> Result<()> {
    let ledger: Ledger = serde_json::from_slice(&fs::read(ledger)?)?;
    let engine = store.open()?;
    for n in ledger.issued() {
        if engine.get(&transaction(n)[0].key)?.is_some() {
            say('s', n)?;
        }
    }
    say('h', 0)?;
    loop {
        thread::park();
    }
}

fn verify(store: &Store, ledger: &Path) -> Result<Verified> {
    let ledger: Ledger = serde_json::from_slice(&fs::read(ledger)?)?;
    let start = Instant::now();
    let engine = store.open()?;
    let mut found = Verified {
        open_millis: start.elapsed().as_secs_f64() * 1e3,
        ..Verified::default()
    };
    found.acknowledged = ledger.acknowledged.len() as u64;
    found.seen = ledger.seen.len() as u64;
    for n in ledger.issued() {
        let expected = transaction(n);
        let mut right = 0;
        let mut absent = 0;
        for record in &expected {
            match engine.get(&record.key)? {
                Some(value) if value == record.value => right += 1,
                Some(_) => {}
                None => absent += 1,
            }
        }
        let (whole, none) = (right == expected.len(), absent == expected.len());
        found.torn += u64::from(!whole && !none);
        found.lost += u64::from(ledger.acknowledged.contains(&n) && !whole);
        found.kept_after_loss += u64::from(found.lost > 0 && ledger.acknowledged.contains(&n) && whole);
        found.seen_lost += u64::from(ledger.seen.contains(&n) && !whole);
        found.unacknowledged_kept += u64::from(whole && !ledger.acknowledged.contains(&n));
    }
    // A store that only reads is not recovered.
    engine.commit(&[Record {
        key: b"verified".to_vec(),
        value: b"1".to_vec(),
    }])?;
    Ok(found)
}

fn measure(store: &Store, corpus: Corpus, first: u64, span: Duration) -> Result<Rates> {
    let engine = store.open()?;
    let peak = PeakMemory::watch();
    let next = AtomicU64::new(first);
    let group = GroupCommit::start(engine.clone());
    let commit = |_: &mut Random| group.commit(transaction(next.fetch_add(1, Ordering::Relaxed)).to_vec());
    let read = |random: &mut Random| match engine.get(&corpus.random_key(random))? {
        Some(_) => Ok(()),
        None => Err("a loaded key is missing".into()),
    };
    let page = |random: &mut Random| {
        let page = engine.scan(&corpus.random_tag_page(random), 100)?;
        if page.is_empty() {
            Err("an empty page".into())
        } else {
            Ok(())
        }
    };
    let (commits_1, commits_1_cpu) = rate(1, span, &commit)?;
    let (commits_32, commits_32_cpu) = rate(32, span, &commit)?;
    let (reads_2, reads_cpu) = rate(2, span, &read)?;
    let (pages_2, _) = rate(2, span, &page)?;
    let peak_anon_mib = peak.mib();
    Ok(Rates {
        commits_1,
        commits_1_cpu,
        commits_32,
        commits_32_cpu,
        reads_2,
        reads_cpu,
        pages_2,
        peak_anon_mib,
    })
}

/// Repeats an operation on `threads` threads for `span`: operations per second, CPU microseconds for each.
fn rate(
    threads: u64,
    span: Duration,
    operation: &(dyn Fn(&mut Random) -> Result<()> + Sync),
) -> Result<(f64, f64)> {
    let (start, cpu) = (Instant::now(), cpu_micros()?);
    let done: Result<Vec<u64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|seed| {
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    let mut count = 0u64;
                    while start.elapsed() < span {
                        operation(&mut random)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect()
    });
    let done = done?.iter().sum::<u64>() as f64;
    Ok((
        done / start.elapsed().as_secs_f64(),
        (cpu_micros()? - cpu) as f64 / done,
    ))
}
