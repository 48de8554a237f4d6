//! Tables for people and JSON for programs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How one job or check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran and held.
    Passed,
    /// It ran and did not hold, or could not run; why.
    Failed(String),
    /// Something from outside that it needs is not to be had here; what. Neither a success nor a failure.
    NotRun(String),
}

/// The error of a job that needs something from outside which is not to be had here.
#[derive(Debug)]
pub(crate) struct NotHere(pub(crate) String);

impl std::fmt::Display for NotHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

impl Outcome {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "FAILED",
            Self::NotRun(_) => "NOT RUN",
        }
    }

    pub(crate) fn passed(&self) -> bool {
        *self == Self::Passed
    }
}

impl<T> From<&anyhow::Result<T>> for Outcome {
    fn from(result: &anyhow::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Passed,
            Err(error) if error.is::<NotHere>() => Self::NotRun(error.to_string()),
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}

/// One finished job.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// A remark that belongs beside the outcome, such as a count; may be empty.
    pub(crate) note: String,
}

impl Job {
    /// Runs `work` and times it; what it returns becomes the job's note.
    pub(crate) fn run(name: &str, work: impl FnOnce() -> anyhow::Result<String>) -> Self {
        let start = Instant::now();
        let result = work();
        let outcome = Outcome::from(&result);
        Self {
            name: name.to_owned(),
            outcome,
            took: start.elapsed(),
            note: result.unwrap_or_default(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let why = match &self.outcome {
            Outcome::Passed => None,
            Outcome::Failed(why) | Outcome::NotRun(why) => Some(why),
        };
        json!({
            "name": self.name, "outcome": self.outcome.word(), "passed": self.outcome.passed(), "seconds": self.took.as_secs_f64(),
            "note": self.note, "why": why,
        })
    }
}

/// Lays rows out in columns as wide as their widest cell; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| Some(row.get(column)?.chars().count()))
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        if number == 0 {
            let rules = widths.iter().map(|width| "-".repeat(*width));
            text.push_str(&rules.collect::<Vec<_>>().join("  "));
            text.push('\n');
        }
    }
    text
}

/// The closing table of jobs and the line of counts, which is last and alone so that programs find it.
pub(crate) fn summary(jobs: &[Job]) -> String {
    let mut rows = vec![["job", "outcome", "time", "note"].map(str::to_owned).to_vec()];
    for job in jobs {
        let note = match &job.outcome {
            Outcome::Passed => job.note.clone(),
            Outcome::Failed(why) | Outcome::NotRun(why) => why.lines().next().unwrap_or_default().to_owned(),
        };
        rows.push(vec![
            job.name.clone(),
            job.outcome.word().to_owned(),
            seconds(job.took),
            note,
        ]);
    }
    let (passed, failed) = counts(jobs);
    let counts = match jobs.len() - passed - failed {
        0 => format!("{passed} passed, {failed} failed"),
        skipped => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    };
    format!("\n{}\n{counts}", table(&rows))
}

/// How many passed and how many failed.
pub(crate) fn counts(jobs: &[Job]) -> (usize, usize) {
    let passed = jobs.iter().filter(|job| job.outcome.passed()).count();
    let failed = jobs
        .iter()
        .filter(|job| matches!(job.outcome, Outcome::Failed(_)))
        .count();
    (passed, failed)
}

/// A duration as a person reads it.
pub(crate) fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_summary_is_the_counts_alone() {
        let good = Job::run("good", || Ok("fine".to_owned()));
        let bad = Job::run("bad", || anyhow::bail!("broken"));
        let text = summary(&[good, bad]);
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed"));
        let absent = Job::run("absent", || Err(NotHere("not to be had".to_owned()).into()));
        assert_eq!(
            summary(&[absent]).lines().last(),
            Some("0 passed, 0 failed, 1 skipped")
        );
        assert!(text.contains("broken"));
    }
}
