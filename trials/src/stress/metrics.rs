//! What a served collector says that it did.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::crash::wire::Wire;

/// The metric, as it is printed.
const STEPS: &str = "berth_collector_steps_total{outcome=\"";

/// Steps of the collector by what came of them.
pub type Steps = BTreeMap<String, u64>;

/// Sums over servers that were killed: each begins to count at nothing.
#[derive(Debug, Default)]
pub struct Collected {
    before: Steps,
    now: Steps,
}

impl Collected {
    /// Asks the server that runs now. One that does not answer is asked again later.
    pub fn look(&mut self, admin: SocketAddr) {
        if let Ok(reply) = Wire::new(admin).ask("GET", "/metrics", &[], None) {
            self.now = steps(&String::from_utf8_lossy(&reply.body));
        }
    }

    /// Another server runs from now on.
    pub fn next(&mut self) {
        self.before = self.sum();
        self.now.clear();
    }

    /// Over all servers, as far as they were asked.
    pub fn sum(&self) -> Steps {
        let mut sum = self.before.clone();
        for (outcome, count) in &self.now {
            *sum.entry(outcome.clone()).or_default() += count;
        }
        sum
    }
}

fn steps(metrics: &str) -> Steps {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(STEPS));
    lines
        .filter_map(|line| {
            let (outcome, count) = line.split_once("\"} ")?;
            Some((outcome.to_owned(), count.trim().parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up_over_servers() {
        let said = "# TYPE berth_collector_steps counter\n\
            berth_collector_steps_total{outcome=\"condemned\"} 3\n\
            berth_collector_steps_total{outcome=\"removed\"} 2\n";
        let mut collected = Collected {
            now: steps(said),
            ..Collected::default()
        };
        collected.next();
        collected.now = steps(said);
        assert_eq!(collected.sum()["condemned"], 6);
        assert_eq!(collected.sum()["removed"], 4);
    }
}
