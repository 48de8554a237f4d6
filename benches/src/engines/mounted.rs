//! A mounted image and a doomed child, both undone on drop.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::Result;

/// A child that does not outlive its round.
pub(super) struct Ended(pub(super) Child);

impl Ended {
    pub(super) fn end(&mut self) -> Result<()> {
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
pub(super) struct Mounted(PathBuf);

impl Mounted {
    pub(super) fn new(image: &Path, mount_point: &Path) -> Result<Self> {
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
pub(super) fn signal(child: &Child, name: &str) -> Result<()> {
    run(Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]))
}

/// Runs a command to its end; its complaint is the error.
pub(super) fn run(command: &mut Command) -> Result<()> {
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
