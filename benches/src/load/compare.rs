//! The same scenario on several servers in turn, round after round, so that what else the machine does meets all of them.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::drive::{Measured, Until};
use super::report::Row;
use super::scenario::{Kind, Prepared, Scenario};
use super::servers::{Running, Server};
use super::syncs::Syncs;
use super::tls::{Identity, floor};

/// How long a server is looked at before what counts is measured.
const LOOK: Duration = Duration::from_secs(1);

/// How a comparison is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each server is measured.
    pub rounds: usize,
    /// What takes a time takes this share of its own. Below a quarter, what takes turns takes a quarter of them.
    pub share: f64,
    /// `GOGC` that servers written in Go are tried with beside their default; the faster is measured.
    pub gogc: Option<u32>,
}

/// All rounds of one scenario, by server: the first is the one that the others are compared with.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Compared {
    /// What was measured.
    pub scenario: String,
    /// What it is.
    pub about: String,
    /// A list of rounds for each server.
    pub servers: Vec<Vec<Row>>,
    /// Seconds of a processor that sealing a GiB takes by itself, if that is part of the scenario: the median of a look in each round.
    pub sealing: Option<f64>,
    /// Syncs of each server in a turn, if that is what is to be told of the scenario.
    pub syncs: Option<Vec<f64>>,
}

/// What is looked at in a row.
pub type Figure = fn(&Row) -> f64;

/// A median, and the least and the most.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread {
            median: (at((values.len().max(1) - 1) / 2) + at(values.len() / 2)) / 2.0,
            least: at(0),
            most: at(values.len().max(1) - 1),
        }
    }
}

impl Compared {
    /// What a server is called.
    pub fn name(&self, server: usize) -> &str {
        self.servers[server].first().map_or("", |row| row.server.as_str())
    }

    /// A figure of one server over its rounds.
    pub fn figure(&self, server: usize, figure: Figure) -> Spread {
        Spread::of(self.servers[server].iter().map(figure))
    }

    /// What a server's processors spend, by the unit that fits: bytes if many are moved, else requests.
    pub fn cost(&self) -> (&'static str, Figure) {
        match self
            .servers
            .iter()
            .flatten()
            .any(|row| row.measured.bytes > 64 << 20)
        {
            true => ("CPU-s/GiB", |row| row.cpu_per_gib),
            false => ("CPU-s/1k", |row| row.cpu_per_thousand),
        }
    }

    /// Under TLS: what the floor's processors take for a GiB, and which part that is of what the first server's take.
    pub fn floor_of_tls(&self) -> Option<(f64, f64)> {
        self.sealing?;
        let floor = (0..self.servers.len()).find(|server| self.name(*server) == "floor")?;
        let cost: Figure = |row| row.cpu_per_gib;
        Some((
            self.figure(floor, cost).median,
            1.0 / self.ratio(floor, cost).median,
        ))
    }

    /// The first server's figure for each one of another's, round by round.
    pub fn ratio(&self, server: usize, figure: Figure) -> Spread {
        let pairs = self.servers[0].iter().zip(&self.servers[server]);
        Spread::of(pairs.map(|(first, other)| figure(first) / figure(other)))
    }
}

/// Whether a server can be asked this at all.
fn can(server: &Server, scenario: &Scenario) -> bool {
    match server {
        Server::Nginx { .. } => matches!(scenario.kind, Kind::BlobGet(_) | Kind::BlobRange(..)),
        // From memory, so short ones only; and it takes what is pushed in one piece. Under TLS it serves files.
        Server::Floor(_) => match scenario.kind {
            Kind::BlobGet(_) if scenario.is_tls => true,
            Kind::BlobGet(length) => length <= 4 << 20,
            Kind::ManifestGet(_) | Kind::ManifestHead(_) | Kind::BlobHead(_) => true,
            Kind::Push(_, how) => how == super::pushes::How::Monolithic,
            _ => false,
        },
        Server::Berth(_) | Server::Before(_) | Server::Distribution { .. } | Server::Zot(_) => true,
    }
}

/// A server with what a scenario needs of it.
struct One {
    name: String,
    running: Running,
    prepared: Prepared,
}

impl One {
    /// Looks at it for a short time. Each look has an `age` of its own, and pushes what no other has.
    async fn looked(&mut self, scenario: &Scenario, salt: u64, age: u64) -> io::Result<Measured> {
        let scenario = Scenario {
            until: match scenario.until {
                Until::Elapsed(_) => Until::Elapsed(LOOK),
                Until::Turns(turns) => Until::Turns(scenario.fewer(turns)),
            },
            ..*scenario
        };
        self.prepared.renew(&scenario, salt + (age << 12));
        let target = &self.running.target;
        self.prepared
            .closed(target, scenario.connections, scenario.until)
            .await
    }

    /// Turns in a second.
    async fn pace(&mut self, scenario: &Scenario, salt: u64, age: u64) -> io::Result<f64> {
        let measured = self.looked(scenario, salt, age).await?;
        Ok(measured.turns as f64 / measured.wall)
    }

    /// This one, or the same store served by `other`, whichever answers more in a second.
    async fn or(
        mut self,
        other: Server,
        server: &Server,
        scenario: &Scenario,
        home: (&Path, Option<&Identity>),
        salt: u64,
    ) -> io::Result<One> {
        let rate = self.pace(scenario, salt, 1).await?;
        let One {
            name,
            running,
            prepared,
            ..
        } = self;
        drop(running);
        let mut one = One {
            name: other.name(),
            running: other.start(home.0, home.1)?,
            prepared,
        };
        if one.pace(scenario, salt, 2).await? < rate {
            drop(one.running);
            one.running = server.start(home.0, home.1)?;
            one.name = name;
        }
        Ok(one)
    }
}

/// Turns in a second that every server can do: half of what the slowest does.
async fn half_of_the_slowest(running: &mut [One], scenario: &Scenario, salt: u64) -> io::Result<f64> {
    let mut slowest = f64::INFINITY;
    for one in running {
        slowest = slowest.min(one.pace(scenario, salt, 3).await?);
    }
    Ok(slowest / 2.0)
}

/// How often each server syncs in a turn, in one more look; nothing where it cannot be counted.
async fn syncs(running: &mut [One], scenario: &Scenario, salt: u64) -> io::Result<Option<Vec<f64>>> {
    let mut all = Vec::new();
    for one in running {
        let process = one.running.target.process.unwrap_or_default();
        let counts = match Syncs::of(process) {
            Ok(counts) => counts,
            Err(why) => {
                eprintln!("syncs are NOT COUNTED: {why}");
                return Ok(None);
            }
        };
        let measured = one.looked(scenario, salt, 4).await?;
        all.push(counts.counted()? as f64 / measured.turns as f64);
    }
    Ok(Some(all))
}

/// Measures a scenario on the servers that can be asked it. `progress` is told each row.
///
/// # Errors
/// If a server cannot be started, or refuses.
pub async fn compare(
    scenario: &Scenario,
    servers: &[Server],
    plan: Plan,
    directory: &Path,
    salt: u64,
    progress: &mut dyn FnMut(&Row),
) -> io::Result<Compared> {
    let until = match scenario.until {
        Until::Elapsed(time) => Until::Elapsed(time.mul_f64(plan.share)),
        Until::Turns(turns) if plan.share < 0.25 => Until::Turns(scenario.fewer(turns)),
        turns @ Until::Turns(_) => turns,
    };
    let scenario = Scenario { until, ..*scenario };
    let identity = scenario.is_tls.then(Identity::new).transpose()?;
    let identity = identity.as_ref();
    let mut running = Vec::new();
    for server in servers.iter().filter(|server| can(server, &scenario)) {
        let home = directory.join(server.name().replace([' ', '='], "-"));
        let mut started = server.start(&home, identity)?;
        if matches!(server, Server::Floor(_)) {
            // It reads its files when it starts.
            scenario.prepare(&mut started.shelf(), salt).await?;
            drop(started);
            started = server.start(&home, identity)?;
        }
        let prepared = scenario.prepare(&mut started.shelf(), salt).await?;
        let mut one = One {
            name: server.name(),
            running: started,
            prepared,
        };
        if let Some(other) = server.otherwise(plan.gogc) {
            one = one.or(other, server, &scenario, (&home, identity), salt).await?;
        }
        running.push(one);
    }
    let rate = match scenario.kind {
        Kind::Mixed => Some(half_of_the_slowest(&mut running, &scenario, salt).await?),
        _ => None,
    };
    let mut compared = Compared {
        scenario: scenario.name.to_owned(),
        about: scenario.about.to_owned(),
        servers: vec![Vec::new(); running.len()],
        sealing: None,
        syncs: None,
    };
    let mut sealing = Vec::new();
    for round in 0..plan.rounds {
        for step in 0..running.len() {
            // Each begins a round in turn.
            let at = (round + step) % running.len();
            let one = &mut running[at];
            one.prepared.renew(&scenario, salt + ((round as u64 + 1) << 8));
            let (target, connections) = (&one.running.target, scenario.connections);
            let measured = match (rate, until) {
                (Some(rate), Until::Elapsed(lasting)) => {
                    one.prepared.open(target, connections, rate, lasting).await?
                }
                _ => one.prepared.closed(target, connections, until).await?,
            };
            let row = Row::new(scenario.name, &one.name, connections, measured);
            progress(&row);
            compared.servers[at].push(row);
        }
        if scenario.is_tls {
            sealing.push(floor::sealing()?);
        }
    }
    if scenario.kind == Kind::PushImages {
        compared.syncs = syncs(&mut running, &scenario, salt).await?;
    }
    compared.sealing = scenario.is_tls.then(|| Spread::of(sealing.into_iter()).median);
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_of_its_values() {
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).median, 1.5);
        assert!(Spread::of(std::iter::empty()).median.is_nan());
    }
}
