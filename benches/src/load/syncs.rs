//! How often a server has its disk make something durable, counted by the kernel while the server goes on at its own speed: a
//! tracer that stops each call would change how many writers share one sync.
//!
//! It takes root, and a kernel that traces system calls.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Calls that make durable what was written.
const SYNCS: [&str; 5] = ["fsync", "fdatasync", "sync_file_range", "syncfs", "sync"];

/// Calls that do so if the file was opened with `O_DSYNC`, as LMDB opens the page that makes a commit visible.
const WRITES: [&str; 4] = ["write", "writev", "pwrite64", "pwritev"];

/// `O_DSYNC` of Linux.
const DSYNC: u32 = 0o10000;

/// Counts from when it was made.
pub struct Syncs {
    instance: PathBuf,
    /// Dropped after the instance was removed.
    _mounted: Mounted,
}

/// The kernel's file system for tracing, on a directory of its own.
struct Mounted(TempDir);

impl Mounted {
    fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tracefs", "nodev"]).arg(directory.path());
        match mount.stderr(Stdio::null()).status()?.success() {
            true => Ok(Mounted(directory)),
            false => Err(io::Error::other("the kernel's tracing cannot be had")),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _still_there = Command::new("umount").arg(self.0.path()).status();
    }
}

impl Syncs {
    /// Of this process.
    ///
    /// # Errors
    /// If the kernel does not let itself be asked.
    pub fn of(process: u32) -> io::Result<Self> {
        let threads = names(Path::new(&format!("/proc/{process}/task")))?;
        Self::of_threads(process, &threads)
    }

    /// Of these threads of a process, and of those that they begin.
    fn of_threads(process: u32, threads: &[String]) -> io::Result<Self> {
        let mounted = Mounted::new()?;
        let instance = mounted.0.path().join(format!("instances/load-{process}"));
        fs::create_dir(&instance)?;
        let counts = Syncs {
            instance,
            _mounted: mounted,
        };
        counts.begin(process, threads)?;
        Ok(counts)
    }

    fn begin(&self, process: u32, threads: &[String]) -> io::Result<()> {
        let tell = |file: &str, text: &str| fs::write(self.instance.join(file), text);
        // Threads that begin later count too.
        tell("options/event-fork", "1")?;
        tell("set_event_pid", &threads.join(" "))?;
        let files = synchronous(process)?;
        if !files.is_empty() {
            let files: Vec<_> = files.iter().map(|file| format!("fd == {file}")).collect();
            for call in WRITES {
                tell(
                    &format!("events/syscalls/sys_enter_{call}/filter"),
                    &files.join(" || "),
                )?;
                tell(&format!("events/syscalls/sys_enter_{call}/enable"), "1")?;
            }
        }
        for call in SYNCS {
            tell(&format!("events/syscalls/sys_enter_{call}/enable"), "1")?;
        }
        Ok(())
    }

    /// Ends the count.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn counted(self) -> io::Result<u64> {
        let mut total = 0;
        for processor in names(&self.instance.join("per_cpu"))? {
            let stats = fs::read_to_string(self.instance.join("per_cpu").join(processor).join("stats"))?;
            // What the buffer had no room for was counted all the same.
            for key in ["entries:", "overrun:"] {
                let line = stats.lines().find_map(|line| line.strip_prefix(key));
                let count = line.and_then(|count| count.trim().parse::<u64>().ok());
                total += count.ok_or_else(|| io::Error::other(format!("{key} of the trace is missing")))?;
            }
        }
        Ok(total)
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        let _still_there = fs::remove_dir(&self.instance);
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Descriptors of a process whose writes are durable when they return.
fn synchronous(process: u32) -> io::Result<Vec<String>> {
    let directory = PathBuf::from(format!("/proc/{process}/fdinfo"));
    let is_synchronous = |file: &String| {
        let info = fs::read_to_string(directory.join(file)).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & DSYNC != 0))
    };
    Ok(names(&directory)?.into_iter().filter(is_synchronous).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    /// Needs root and a kernel that traces; without, there is nothing to be tried.
    #[test]
    fn syncs_and_synchronous_writes_are_counted_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(true).write(true);
        let mut synchronous = options
            .clone()
            .custom_flags(DSYNC as i32)
            .open(directory.path().join("a"))
            .unwrap();
        let mut other = options.open(directory.path().join("b")).unwrap();
        // Other tests of this process sync too.
        let thread = fs::read_link("/proc/thread-self").unwrap();
        let thread = thread.file_name().unwrap().to_str().unwrap().to_owned();
        let counts = match Syncs::of_threads(std::process::id(), &[thread]) {
            Ok(counts) => counts,
            Err(why) => return eprintln!("not tried: {why}"),
        };
        other.write_all(b"not durable").unwrap();
        synchronous.write_all(b"durable").unwrap();
        std::thread::spawn(move || {
            other.sync_data().unwrap();
            other.sync_all().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(counts.counted().unwrap(), 3);
    }
}
