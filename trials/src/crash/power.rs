//! Disks whose power can be cut: records and blobs each on a file system of its own, in an image of its own.
//!
//! A file system that is shut down keeps what it had synced and drops the rest, as a disk without power does. The
//! images lose it at slightly different moments, and before that the kernel may have written back a part of what was
//! not synced, as it may at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use super::random::Random;
use crate::mounted::{self, FileSystem, Mounted, Result, run, shut_down, write_back};

/// Size of each image in MiB.
const IMAGE_MIB: u64 = 1024;

/// A file that is written right before each cut and never synced: the control.
const UNSYNCED: &str = "unsynced";
const UNSYNCED_LENGTH: usize = 64 << 10;

/// Files of which a part is written back before a cut, besides those of the records.
const FILES_MAX: usize = 32;

/// Files that were changed no longer ago than this can have something that was not written back yet.
const FRESH: Duration = Duration::from_secs(4);

/// The moment at which the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// While a new store is being made.
    WhileCreated,
    /// Under load.
    UnderLoad,
    /// Between two system calls, when a random part of what was not synced has been written back.
    PartlyWrittenBack,
    /// After a SIGKILL, when another process has opened the store and everything was read from it.
    AfterReopening,
}

/// The two disks.
#[derive(Debug)]
pub struct Disks {
    sides: [Disk; 2],
}

#[derive(Debug)]
struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
    mounted: Option<Mounted>,
    /// Cuts after which what nobody had synced was gone, as it should be.
    dropped: u64,
}

impl Cut {
    /// The cut of a round: each kind comes in turn.
    pub fn of(round: u64) -> Self {
        const CYCLE: [Cut; 8] = [
            Cut::WhileCreated,
            Cut::PartlyWrittenBack,
            Cut::UnderLoad,
            Cut::AfterReopening,
            Cut::PartlyWrittenBack,
            Cut::UnderLoad,
            Cut::PartlyWrittenBack,
            Cut::UnderLoad,
        ];
        CYCLE[(round % CYCLE.len() as u64) as usize]
    }

    /// What it is, for the report.
    pub fn name(self) -> &'static str {
        match self {
            Cut::WhileCreated => "power cut while the store was made",
            Cut::UnderLoad => "power cut under load",
            Cut::PartlyWrittenBack => "power cut partly written back",
            Cut::AfterReopening => "SIGKILL, then a power cut after reopening",
        }
    }
}

/// What the trial cannot do without and does not find, if anything.
pub fn missing() -> Vec<String> {
    let programs = ["unshare", "mount", "umount", "xfs_io", "mkfs.ext4", "mkfs.xfs"];
    let mut missing: Vec<String> = mounted::missing(&programs)
        .into_iter()
        .map(|program| format!("the program {program}"))
        .collect();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if user.and_then(|ids| ids.split_whitespace().nth(1)) != Some("0") {
        missing.push("root, to mount and to shut down file systems".to_owned());
    }
    missing
}

impl Disks {
    /// Two new disks in `directory`, mounted in `data` where a store keeps its records and its blobs.
    ///
    /// # Errors
    /// If they cannot be made or mounted.
    pub fn new(file_system: FileSystem, directory: &Path, data: &Path) -> Result<Self> {
        let make = |side: &str| -> Result<Disk> {
            let image = directory.join(format!("{side}.image"));
            let mount_point = data.join(side);
            fs::create_dir_all(&mount_point)?;
            file_system.make(&image, IMAGE_MIB)?;
            let mounted = Some(Mounted::new(&image, &mount_point)?);
            Ok(Disk {
                image,
                mount_point,
                mounted,
                dropped: 0,
            })
        };
        Ok(Disks {
            sides: [make("records")?, make("blobs")?],
        })
    }

    /// Cuts the power: one disk, and at once or a little later the other.
    ///
    /// # Errors
    /// If a file system does not let itself be shut down.
    pub fn cut(&mut self, random: &mut Random) -> Result<()> {
        for disk in &self.sides {
            fs::write(disk.mount_point.join(UNSYNCED), [7; UNSYNCED_LENGTH])?;
        }
        let first = random.below(2) as usize;
        shut_down(&self.sides[first].mount_point)?;
        if random.chance(50) {
            thread::sleep(Duration::from_micros(random.below(15_000)));
        }
        shut_down(&self.sides[1 - first].mount_point)
    }

    /// The power is back: both are mounted again, as they are found.
    ///
    /// # Errors
    /// If they cannot be mounted.
    pub fn restore(&mut self) -> Result<()> {
        for disk in &mut self.sides {
            disk.mounted = None;
            disk.mounted = Some(Mounted::new(&disk.image, &disk.mount_point)?);
            let unsynced = disk.mount_point.join(UNSYNCED);
            let kept = fs::read(&unsynced).is_ok_and(|bytes| bytes == [7; UNSYNCED_LENGTH]);
            disk.dropped += u64::from(!kept);
            if unsynced.exists() {
                fs::remove_file(&unsynced)?;
            }
        }
        Ok(())
    }

    /// Whether any cut took what was not synced, on both disks. Cuts that take nothing prove nothing.
    pub fn cuts_cut(&self) -> bool {
        self.sides.iter().all(|disk| disk.dropped > 0)
    }

    /// Removes everything from both, durably.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn empty(&mut self) -> Result<()> {
        for disk in &self.sides {
            for entry in fs::read_dir(&disk.mount_point)? {
                let entry = entry?;
                if entry.file_name() == "lost+found" {
                    continue;
                }
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
            run(Command::new("sync").arg("--file-system").arg(&disk.mount_point))?;
        }
        Ok(())
    }

    /// Has a random half of the pages of what was changed last written back, without waiting for more.
    ///
    /// # Errors
    /// If the files cannot be listed.
    pub fn write_back_partly(&self, random: &mut Random) -> Result<()> {
        for (disk, most) in self.sides.iter().zip([usize::MAX, FILES_MAX]) {
            let mut fresh = Vec::new();
            collect_fresh(&disk.mount_point, &mut fresh)?;
            while fresh.len() > most {
                let gone = random.below(fresh.len() as u64) as usize;
                fresh.swap_remove(gone);
            }
            for (file, length) in &fresh {
                write_back(file, *length, 1024, || random.chance(50))?;
            }
        }
        Ok(())
    }
}

/// The files below a directory that were changed a moment ago, with their lengths.
fn collect_fresh(directory: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            collect_fresh(&entry.path(), found)?;
            continue;
        }
        let age = SystemTime::now().duration_since(metadata.modified()?);
        let mapped = entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "mdb");
        if metadata.is_file() && (mapped || age.is_ok_and(|age| age < FRESH)) {
            found.push((entry.path(), metadata.len()));
        }
    }
    Ok(())
}
