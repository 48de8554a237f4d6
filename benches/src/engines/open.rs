//! How soon the first manifest is answered: after a clean stop, after SIGKILL under write load, and with
//! nothing of the store in the page cache.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    EngineKind, Options, Result,
    child::{FirstGet, Ledger, Loaded, Role, Store, Verified, report, spawn},
    corpus::{Corpus, Random},
    measure::{largest, median},
};

/// Writers that load the store when it is killed.
const WRITERS: u64 = 32;

/// One engine's answers, in milliseconds from process start.
#[derive(Debug, Serialize)]
struct OpenRow {
    engine: EngineKind,
    load: Loaded,
    clean_ms: Vec<f64>,
    killed_ms: Vec<f64>,
    killed_open_ms: Vec<f64>,
    killed_cold_ms: Vec<f64>,
    anon_mib_after_get: f64,
    acknowledged: u64,
    lost: u64,
    torn: u64,
}

/// The table of the open trial.
#[derive(Debug, Serialize)]
pub struct OpenReport {
    keys: u64,
    rows: Vec<OpenRow>,
}

/// Loads each engine's store under `directory` unless it is there already.
pub(super) fn prepare(options: &Options, directory: &Path) -> Result<Vec<(Store, Loaded)>> {
    let mut stores = Vec::new();
    for &engine in &options.engines {
        let home = directory.join(engine.name());
        let store = Store::new(engine, &home, options.cache_mib);
        let note = directory.join(format!("{engine}.loaded"));
        let loaded = if note.exists() {
            serde_json::from_slice(&fs::read(&note)?)?
        } else {
            eprintln!("loading {engine} with {} keys", options.keys);
            let loaded: Loaded = report(&store, "load", &[("keys", options.keys.to_string())])?;
            fs::write(&note, serde_json::to_vec(&loaded)?)?;
            loaded
        };
        stores.push((store, loaded));
    }
    Ok(stores)
}

/// Runs the trial; each round kills every engine once, in turn.
pub fn open(options: &Options, directory: &Path) -> Result<OpenReport> {
    let stores = prepare(options, directory)?;
    let corpus = Corpus::new(options.keys);
    let mut random = Random::new(options.seed);
    let mut rows: Vec<OpenRow> = Vec::new();
    for (&engine, (_, load)) in options.engines.iter().zip(&stores) {
        rows.push(OpenRow {
            engine,
            load: load.clone(),
            clean_ms: Vec::new(),
            killed_ms: Vec::new(),
            killed_open_ms: Vec::new(),
            killed_cold_ms: Vec::new(),
            anon_mib_after_get: 0.0,
            acknowledged: 0,
            lost: 0,
            torn: 0,
        });
    }
    let mut ledgers = vec![Ledger::default(); stores.len()];
    for round in 0..options.rounds as u64 {
        eprintln!("open: round {} of {}", round + 1, options.rounds);
        for ((row, (store, _)), ledger) in rows.iter_mut().zip(&stores).zip(&mut ledgers) {
            let home = directory.join(row.engine.name());
            let mut manifest = || random.below(corpus.manifests());
            let (clean, _) = first_get(store, options.keys, manifest())?;
            row.clean_ms.push(clean);

            let first = (options.seed << 16 | round << 1 | 1).wrapping_mul(Role::RUN);
            killed_while_writing(
                store,
                first,
                ledger,
                Duration::from_millis(400 + manifest() % 600),
            )?;
            // Every other kill is followed by an open that finds nothing in the page cache.
            let cold = round % 2 == 1;
            if cold {
                drop_from_page_cache(&home)?;
            }
            let (wall, inside) = first_get(store, options.keys, manifest())?;
            if cold {
                &mut row.killed_cold_ms
            } else {
                &mut row.killed_ms
            }
            .push(wall);
            if !cold {
                row.killed_open_ms.push(inside.open_micros as f64 / 1e3);
            }
            row.anon_mib_after_get = row.anon_mib_after_get.max(inside.anon_mib);

            let found = verified(store, ledger, directory)?;
            row.acknowledged = found.acknowledged;
            row.lost += found.lost;
            row.torn += found.torn;
        }
    }
    Ok(OpenReport {
        keys: options.keys,
        rows,
    })
}

/// Milliseconds from just before the process is started to its answer.
fn first_get(store: &Store, keys: u64, manifest: u64) -> Result<(f64, FirstGet)> {
    let start = Instant::now();
    let (mut child, output) = spawn(
        store,
        "first-get",
        &[("keys", keys.to_string()), ("manifest", manifest.to_string())],
    )?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let wall = start.elapsed().as_secs_f64() * 1e3;
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("the first GET failed: {status}").into());
    }
    Ok((wall, serde_json::from_str(&line)?))
}

/// Lets a writer run for `span` after its store is open, kills it, and notes what it acknowledged.
fn killed_while_writing(store: &Store, first: u64, ledger: &mut Ledger, span: Duration) -> Result<()> {
    let (mut child, output) = spawn(
        store,
        "write",
        &[("first", first.to_string()), ("writers", WRITERS.to_string())],
    )?;
    let mut lines = BufReader::new(output).lines();
    if lines.next().transpose()?.as_deref() != Some("o 0") {
        return Err("the writer did not open its store".into());
    }
    let listener = thread::spawn(move || heard(lines));
    thread::sleep(span);
    child.kill()?;
    child.wait()?;
    let (acknowledged, seen) = listener.join().map_err(|_| "the listener panicked")?;
    if acknowledged.is_empty() {
        return Err("the writer was killed before it acknowledged anything".into());
    }
    ledger.acknowledged.extend(acknowledged);
    ledger.seen.extend(seen);
    ledger.runs.push(first);
    Ok(())
}

/// The acknowledged and the seen numbers that a writer spoke of before it ended. A last line that its end cut
/// short says nothing.
pub(super) fn heard(lines: impl Iterator<Item = std::io::Result<String>>) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut acknowledged, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in lines.map_while(std::result::Result::ok) {
        match line
            .split_once(' ')
            .and_then(|(what, n)| Some((what, n.parse().ok()?)))
        {
            Some(("a", n)) => acknowledged.insert(n),
            Some(("s", n)) => seen.insert(n),
            _ => false,
        };
    }
    (acknowledged, seen)
}

/// Compares a store with its ledger in a fresh process, which may die of it without ending the trial.
pub(super) fn verified(store: &Store, ledger: &Ledger, scratch: &Path) -> Result<Verified> {
    let path: PathBuf = scratch.join("ledger.json");
    fs::write(&path, serde_json::to_vec(ledger)?)?;
    report(store, "verify", &[("ledger", path.display().to_string())])
}

/// Drops a store's files from the page cache, and nobody else's.
fn drop_from_page_cache(directory: &Path) -> Result<()> {
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let mut file = std::ffi::OsString::from("of=");
            file.push(&path);
            let status = Command::new("dd")
                .arg(file)
                .args([
                    "oflag=nocache",
                    "conv=notrunc,fdatasync",
                    "count=0",
                    "status=none",
                ])
                .stdin(Stdio::null())
                .status()?;
            if !status.success() {
                return Err(format!("dd could not drop {} from the page cache", path.display()).into());
            }
        }
    }
    Ok(())
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Process start to the first manifest GET by tag, {} keys (ms)",
            self.keys
        )?;
        writeln!(
            f,
            "{:<17} {:>15} {:>15} {:>15} {:>15} {:>9} {:>8} {:>9} {:>9}",
            "engine",
            "clean med/max",
            "killed med/max",
            "its open m/m",
            "kill+cold m/m",
            "acked",
            "lost",
            "torn",
            "anon MiB"
        )?;
        for row in &self.rows {
            let pair = |values: &[f64]| format!("{:.1}/{:.1}", median(values), largest(values));
            writeln!(
                f,
                "{:<17} {:>15} {:>15} {:>15} {:>15} {:>9} {:>8} {:>9} {:>9.1}",
                row.engine,
                pair(&row.clean_ms),
                pair(&row.killed_ms),
                pair(&row.killed_open_ms),
                pair(&row.killed_cold_ms),
                row.acknowledged,
                row.lost,
                row.torn,
                row.anon_mib_after_get
            )?;
        }
        writeln!(f, "\nLoading, durable commits of 1,000 keys")?;
        writeln!(
            f,
            "{:<17} {:>9} {:>14} {:>9}",
            "engine", "seconds", "peak anon MiB", "disk MiB"
        )?;
        for row in &self.rows {
            let load = &row.load;
            writeln!(
                f,
                "{:<17} {:>9.1} {:>14.1} {:>9.0}",
                row.engine, load.seconds, load.peak_anon_mib, load.disk_mib
            )?;
        }
        Ok(())
    }
}
