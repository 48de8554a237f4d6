//! A mounted image and a doomed child, both undone on drop.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Any failure of a trial; it is reported, never handled.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

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
