//! What long commands say on standard error while they work.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use registry_core::Timestamp;

/// How often it says something where nothing can be drawn.
const EVERY: Duration = Duration::from_secs(1);
/// How often a terminal is drawn on, per second.
const DRAWN: u8 = 10;
const WORDS: &str = "{wide_msg}";
const BAR: &str = "{msg} [{bar:30}] {human_pos} of {human_len}, {per_sec:.0}, {eta} left";

/// Says how far a command is: on one line of a terminal, else now and then on a line of its own.
pub(crate) struct Progress {
    began: Instant,
    last: Instant,
    /// `None` if standard error is no terminal.
    line: Option<ProgressBar>,
    /// What is being counted, since when, and from which number on.
    counting: Option<(String, Instant, u64)>,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        let line = stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWN);
            ProgressBar::with_draw_target(None, target).with_style(style(WORDS))
        });
        Progress {
            began: now,
            last: now,
            line,
            counting: None,
        }
    }

    /// Says what `line` makes, if it is time.
    pub(crate) fn say(&mut self, line: impl FnOnce(Duration) -> String) {
        if self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        let said = line(self.began.elapsed());
        match &self.line {
            Some(line) => {
                revive(line);
                line.set_message(said);
            }
            None => eprintln!("{said}"),
        }
    }

    /// Says that so many of so many are done; with a bar on a terminal, a rate, and the time that is left.
    pub(crate) fn count(&mut self, what: &str, done: u64, of: u64) {
        let (began, from) = match &self.counting {
            Some((counted, began, from)) if counted == what => (*began, *from),
            _ => {
                let now = Instant::now();
                if let Some(line) = &self.line {
                    line.set_style(style(BAR));
                    line.set_message(what.to_owned());
                    line.reset();
                    // What was counted before, and goes on, was not done in this moment.
                    line.set_position(done);
                    line.reset_eta();
                }
                self.counting = Some((what.to_owned(), now, done));
                (now, done)
            }
        };
        let of = of.max(done);
        if let Some(line) = &self.line {
            line.set_length(of);
            line.set_position(done);
            return;
        }
        self.say(|_| {
            let speed = done.saturating_sub(from) as f64 / began.elapsed().as_secs_f64().max(0.001);
            let left = (of - done) as f64 / speed.max(0.001);
            format!("{what}: {done} of {of}, {speed:.0}/s, {left:.0} s left")
        });
    }

    /// Leaves the line to somebody else. To be called before anything else is printed.
    pub(crate) fn clear(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }

    /// Time since the command began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn revive(line: &ProgressBar) {
    if line.is_finished() {
        line.reset();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are those above.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
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

/// A time for people.
pub(crate) fn time(at: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(at.0);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A duration for people, to the second once it is that long.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

/// Rows of text as columns: the first to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    columns(rows, |column| column > 0)
}

/// Rows of text as columns, all to the left.
pub(crate) fn listing(rows: &[Vec<String>]) -> String {
    columns(rows, |_| false)
}

fn columns(rows: &[Vec<String>], to_the_right: impl Fn(usize) -> bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match to_the_right(column) {
                false => format!("{cell:<width$}"),
                true => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Says why a command does nothing, or does not go on, with all causes.
pub(crate) fn refuse(why: &dyn std::error::Error) -> std::process::ExitCode {
    refuse_line(&causes(why))
}

/// An error with all its causes.
pub(crate) fn causes(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut cause = why.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["blobs", "7"]), row(["a/b", "1000"])]),
            "blobs     7\na/b    1000\n"
        );
        assert_eq!(
            listing(&[row(["NAME", "ROLE"]), row(["a/b", "1"])]),
            "NAME  ROLE\na/b   1\n"
        );
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 40), "5.0 TiB");
        assert_eq!(rate(10 << 20, Duration::from_secs(2)), "5.0 MiB/s");
    }
}
