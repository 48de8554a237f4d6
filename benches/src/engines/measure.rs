//! Reading the process's own costs, and small statistics.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::Result;

/// Microseconds of CPU (user and system) that this process has used, in steps of one clock tick (10 ms).
pub(super) fn cpu_micros() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The command's name may hold spaces; the fields after it do not.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    Ok(ticks * 10_000)
}

/// Anonymous resident memory of this process in KiB.
pub(super) fn rss_anon_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Watches anonymous memory from a thread of its own.
pub(super) struct PeakMemory {
    stop: Arc<AtomicBool>,
    peak_kib: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl PeakMemory {
    pub(super) fn watch() -> Self {
        let (stop, peak_kib) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = thread::spawn({
            let (stop, peak_kib) = (stop.clone(), peak_kib.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    peak_kib.fetch_max(rss_anon_kib().unwrap_or(0), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
        PeakMemory {
            stop,
            peak_kib,
            thread: Some(thread),
        }
    }

    /// The peak so far, in MiB.
    pub(super) fn mib(&self) -> f64 {
        self.peak_kib.load(Ordering::Relaxed) as f64 / 1024.0
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The middle value (the lower of two); 0 when there is none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}

/// The largest value; 0 when there is none.
pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Disk space allocated to everything under `directory`, in MiB.
pub(super) fn disk_mib(directory: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut blocks = 0;
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                pending.push(entry.path());
            } else {
                blocks += metadata.blocks();
            }
        }
    }
    Ok(blocks as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_process_can_read_its_own_costs() {
        assert!(rss_anon_kib().unwrap() > 0);
        let before = cpu_micros().unwrap();
        let mut n = 0u64;
        while cpu_micros().unwrap() < before + 20_000 {
            n = n.wrapping_add(1);
        }
        assert!(n > 0);
    }
}
