//! What long commands say on standard error while they work.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// How often it says something.
const EVERY: Duration = Duration::from_secs(1);

/// Says now and then how far a command is: on one line of a terminal, else on lines of their own.
pub(crate) struct Progress {
    began: Instant,
    last: Instant,
    terminal: bool,
    /// Whether the line on the terminal is to be wiped.
    said: bool,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Progress {
            began: now,
            last: now,
            terminal: stderr().is_terminal(),
            said: false,
        }
    }

    /// Says what `line` makes, if it is time.
    pub(crate) fn say(&mut self, line: impl FnOnce(Duration) -> String) {
        if self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        let line = line(self.began.elapsed());
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            // A terminal that is gone misses nothing.
            let _gone = stderr().flush();
            self.said = true;
        } else {
            eprintln!("{line}");
        }
    }

    /// Leaves the line to somebody else. To be called before anything else is printed.
    pub(crate) fn clear(&mut self) {
        if self.said {
            eprint!("\r\x1b[K");
            self.said = false;
        }
    }

    /// Time since the command began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "bytes" => format!("{bytes} bytes"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// Bytes in a time, for people.
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    format!(
        "{}/s",
        size((bytes as f64 / time.as_secs_f64().max(0.001)) as u64)
    )
}

/// Says why a command does nothing, or does not go on, with all causes.
pub(crate) fn refuse(why: &dyn std::error::Error) -> std::process::ExitCode {
    let mut text = why.to_string();
    let mut cause = why.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    refuse_line(&text)
}

/// The same for a text.
pub(crate) fn refuse_line(why: &str) -> std::process::ExitCode {
    for line in why.lines() {
        eprintln!("berth: {line}");
    }
    std::process::ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 40), "5.0 TiB");
        assert_eq!(rate(10 << 20, Duration::from_secs(2)), "5.0 MiB/s");
    }
}
