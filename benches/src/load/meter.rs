//! What a server spends: read from `/proc`, for its process and all that descend from it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Hundredths of a second of processors, in which proc(5) counts on Linux.
fn ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may have anything in it, but it ends with the last bracket.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn anonymous(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// A process and its descendants as they are now.
fn family(process: u32) -> io::Result<Vec<u32>> {
    let mut parents = BTreeMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            parents.entry(parent).or_default().push(id);
        }
    }
    let mut family = vec![process];
    let mut at = 0;
    while let Some(one) = family.get(at) {
        let children = parents.remove(one).unwrap_or_default();
        family.extend(children);
        at += 1;
    }
    Ok(family)
}

/// Counts from when it was made.
pub struct Meter {
    family: Vec<u32>,
    before: u64,
    peak: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

/// What was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Seconds of processors, to a hundredth.
    pub cpu: f64,
    /// The most anonymous memory at any look, in bytes.
    pub anonymous: u64,
}

impl Meter {
    /// # Errors
    /// If the process is not there.
    pub fn of(process: u32) -> io::Result<Self> {
        let family = family(process)?;
        let before = family.iter().filter_map(|id| ticks(*id)).sum();
        ticks(process).ok_or_else(|| io::Error::other(format!("there is no process {process}")))?;
        let (peak, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (looked, ended, all) = (peak.clone(), ends.clone(), family.clone());
        let looking = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let now = all.iter().filter_map(|id| anonymous(*id)).sum();
                looked.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        Ok(Meter {
            family,
            before,
            peak,
            ends,
            looking: Some(looking),
        })
    }

    /// Ends the count.
    pub fn spent(mut self) -> Spent {
        let after: u64 = self.family.iter().filter_map(|id| ticks(*id)).sum();
        self.end();
        Spent {
            cpu: after.saturating_sub(self.before) as f64 / 100.0,
            anonymous: self.peak.load(Ordering::Relaxed),
        }
    }

    fn end(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            let _ended = looking.join();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end();
    }
}
