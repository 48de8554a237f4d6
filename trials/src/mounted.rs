//! A mounted image whose power can be cut, and a doomed child; both undone on drop.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Any failure of a trial; it is reported, never handled.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A file system whose shutdown drops what was not synced, as a disk without power does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 2] = [FileSystem::Ext4, FileSystem::Xfs];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }

    /// Makes one in a new image of so many MiB, of which only what is used takes room. XFS asks for 300.
    ///
    /// # Errors
    /// If the image or the file system cannot be made.
    pub fn make(self, image: &Path, mib: u64) -> Result<()> {
        File::create(image)?.set_len(mib << 20)?;
        run(Command::new(format!("mkfs.{}", self.name())).arg("-q").arg(image))
    }
}

/// Cuts the power of what is mounted at `mount_point`.
///
/// # Errors
/// If the file system does not let itself be shut down.
pub fn shut_down(mount_point: &Path) -> Result<()> {
    run(Command::new("xfs_io")
        .args(["-x", "-c", "shutdown"])
        .arg(mount_point))
}

/// Has those runs of at most 32 pages of a file written back for which `chosen` says so, as the system may at any time.
/// At most `most` runs are asked about, from the file's start.
///
/// # Errors
/// If the file cannot be opened.
pub fn write_back(file: &Path, length: u64, most: usize, mut chosen: impl FnMut() -> bool) -> Result<()> {
    let pages = length / 4096 + 1;
    let run_pages = (pages / 64).clamp(1, 32);
    let mut command = Command::new("xfs_io");
    for start in (0..pages).step_by(run_pages as usize).take(most) {
        if chosen() {
            let range = format!("sync_range -a -w {} {}", start * 4096, run_pages * 4096);
            command.args(["-c", &range]);
        }
    }
    // A sealed file cannot be opened for writing, and needs not.
    run(command.args(["-c", "stat"]).arg("-r").arg(file))
}

/// Which of these programs are not to be had here.
pub fn missing<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let has = |program: &str| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .stdout(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    };
    programs.iter().copied().filter(|program| !has(program)).collect()
}

/// A child that does not outlive its round.
#[derive(Debug)]
pub struct Ended(pub Child);

impl Ended {
    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn end(&mut self) -> Result<()> {
        // It may have ended by itself when its disk went away.
        let _ = self.0.kill();
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// A mounted image, unmounted on drop.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts `image` at `mount_point`.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn new(image: &Path, mount_point: &Path) -> Result<Self> {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(mount_point))?;
        Ok(Mounted(mount_point.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for attempt in 0..50 {
            let busy = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
            if busy.is_ok_and(|status| status.success()) {
                return;
            }
            thread::sleep(Duration::from_millis(20 + attempt));
        }
        eprintln!("{} stays mounted until the trial ends", self.0.display());
    }
}

/// Sends the signal `name` to a child.
///
/// # Errors
/// If it cannot be sent.
pub fn signal(child: &Child, name: &str) -> Result<()> {
    run(Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]))
}

/// Runs a command to its end; its complaint is the error.
///
/// # Errors
/// If it cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )
    .into())
}
