//! What was measured, as a line of JSON and as a table.

use super::drive::Measured;

/// One measurement of one server.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// The scenario's name.
    pub scenario: String,
    /// What the server is called.
    pub server: String,
    /// At once.
    pub connections: usize,
    /// What came of it.
    #[serde(flatten)]
    pub measured: Measured,
    /// Requests in a second.
    pub requests_per_second: f64,
    /// Megabytes (10^6) in a second.
    pub megabytes_per_second: f64,
    /// The server's processor seconds for a GiB.
    pub cpu_per_gib: f64,
    /// And for a thousand requests.
    pub cpu_per_thousand: f64,
}

impl Row {
    /// With what follows from the measurement.
    pub fn new(scenario: &str, server: &str, connections: usize, measured: Measured) -> Self {
        Row {
            scenario: scenario.to_owned(),
            server: server.to_owned(),
            connections,
            requests_per_second: measured.rate(),
            megabytes_per_second: measured.throughput(),
            cpu_per_gib: measured.cpu_per_gib(),
            cpu_per_thousand: measured.cpu_per_thousand(),
            measured,
        }
    }

    /// The heads of the columns of [`line`](Row::line).
    pub fn heads() -> String {
        format!(
            "{:<22} {:<14} {:>5} {:>9} {:>8} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "scenario",
            "server",
            "conns",
            "req/s",
            "MB/s",
            "CPU-s/GiB",
            "CPU-s/1k",
            "p50 ms",
            "p99 ms",
            "p99.9",
            "max",
            "anon MiB"
        )
    }

    /// A line of a table.
    pub fn line(&self) -> String {
        let m = &self.measured;
        // What is told per GiB says nothing of requests that hardly move bytes.
        let per_gib = match m.bytes > 64 << 20 {
            true => format!("{:.3}", self.cpu_per_gib),
            false => "-".to_owned(),
        };
        format!(
            "{:<22} {:<14} {:>5} {:>9.0} {:>8.0} {:>9} {:>9.4} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.1}",
            self.scenario,
            self.server,
            self.connections,
            self.requests_per_second,
            self.megabytes_per_second,
            per_gib,
            self.cpu_per_thousand,
            m.p50,
            m.p99,
            m.p999,
            m.max,
            m.anonymous_mib
        )
    }
}
