//! Durable commits, point reads and pages a second, and what they cost.

use std::{fmt, path::Path};

use serde::Serialize;

use super::{
    EngineKind, Options, Result,
    child::{Rates, Role, report},
    measure::{largest, median},
    open::prepare,
};

/// How long each rate is measured in each round, in milliseconds.
const SPAN_MILLIS: u64 = 1500;

/// One engine's rounds.
#[derive(Debug, Serialize)]
struct CommitsRow {
    engine: EngineKind,
    rounds: Vec<Rates>,
}

/// The table of the commits trial.
#[derive(Debug, Serialize)]
pub struct CommitsReport {
    keys: u64,
    rows: Vec<CommitsRow>,
}

/// Runs the trial on stores of `options.keys` keys; each round measures every engine once, in turn.
pub fn commits(options: &Options, directory: &Path) -> Result<CommitsReport> {
    let stores = prepare(options, directory)?;
    let mut rows: Vec<CommitsRow> = options
        .engines
        .iter()
        .map(|&engine| CommitsRow {
            engine,
            rounds: Vec::new(),
        })
        .collect();
    for round in 0..options.rounds as u64 {
        eprintln!("commits: round {} of {}", round + 1, options.rounds);
        let first = (options.seed << 16 | round << 1).wrapping_mul(Role::RUN);
        for (row, (store, _)) in rows.iter_mut().zip(&stores) {
            let arguments = [
                ("keys", options.keys.to_string()),
                ("first", first.to_string()),
                ("millis", SPAN_MILLIS.to_string()),
            ];
            row.rounds.push(report(store, "measure", &arguments)?);
        }
    }
    Ok(CommitsReport {
        keys: options.keys,
        rows,
    })
}

impl CommitsRow {
    fn median(&self, of: impl Fn(&Rates) -> f64) -> f64 {
        median(&self.rounds.iter().map(of).collect::<Vec<_>>())
    }

    /// The median over the rounds of this engine's rate over another's in the same round.
    fn ratio(&self, to: &CommitsRow, of: impl Fn(&Rates) -> f64) -> f64 {
        median(
            &self
                .rounds
                .iter()
                .zip(&to.rounds)
                .map(|(a, b)| of(a) / of(b))
                .collect::<Vec<_>>(),
        )
    }
}

impl fmt::Display for CommitsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(base) = self.rows.first() else {
            return Ok(());
        };
        writeln!(
            f,
            "Rates on {} keys, median of {} rounds, and in brackets the median of the ratios to {} round by round",
            self.keys,
            base.rounds.len(),
            base.engine
        )?;
        writeln!(
            f,
            "{:<17} {:>15} {:>7} {:>15} {:>7} {:>16} {:>6} {:>15} {:>9}",
            "engine",
            "commits/s 1",
            "µs CPU",
            "commits/s 32",
            "µs CPU",
            "reads/s 2 thr",
            "µs CPU",
            "pages/s 2 thr",
            "anon MiB"
        )?;
        for row in &self.rows {
            let with_ratio =
                |of: fn(&Rates) -> f64| format!("{:.0} ({:.2})", row.median(of), row.ratio(base, of));
            writeln!(
                f,
                "{:<17} {:>15} {:>7.0} {:>15} {:>7.0} {:>16} {:>6.2} {:>15} {:>9.1}",
                row.engine,
                with_ratio(|rates| rates.commits_1),
                row.median(|rates| rates.commits_1_cpu),
                with_ratio(|rates| rates.commits_32),
                row.median(|rates| rates.commits_32_cpu),
                with_ratio(|rates| rates.reads_2),
                row.median(|rates| rates.reads_cpu),
                with_ratio(|rates| rates.pages_2),
                largest(
                    &row.rounds
                        .iter()
                        .map(|rates| rates.peak_anon_mib)
                        .collect::<Vec<_>>()
                )
            )?;
        }
        Ok(())
    }
}
