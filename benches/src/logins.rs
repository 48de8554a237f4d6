//! What logins cost those who pull: manifests and small blobs at a part of what the server could do, alone and while accounts log in
//! whose passwords take a slow hash each.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry_auth::secret::Secret;
use registry_auth::{ADMIN, NewUser};
use trials::server::Berth;

use crate::accounts::{self, PASSWORD};
use crate::load::Target;
use crate::load::connection::{Connection, Request};
use crate::load::content::{Blobs, MANIFEST, manifest};
use crate::load::drive::{Measured, Until, closed, open};
use crate::load::fill::{REPOSITORY, blob_path, manifest_path};

/// What is measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// Logins in a second
    #[arg(long, default_value_t = Plan::default().logins)]
    pub logins: f64,
    /// Part of the pulls that the server could answer in a second
    #[arg(long, default_value_t = Plan::default().load)]
    pub load: f64,
    /// Connections that pull
    #[arg(long, default_value_t = Plan::default().connections)]
    pub connections: usize,
    /// Pairs of one measurement alone and one during logins
    #[arg(long, default_value_t = Plan::default().rounds)]
    pub rounds: usize,
    /// How long each takes, in seconds
    #[arg(long, default_value_t = Plan::default().seconds)]
    pub seconds: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            logins: 10.0,
            load: 0.3,
            connections: 8,
            rounds: 5,
            seconds: 8,
        }
    }
}

impl Plan {
    /// Each logs in once, so that no login is remembered.
    fn accounts(&self) -> u64 {
        (self.logins * self.seconds as f64 * self.rounds as f64).ceil() as u64
    }
}

/// One measurement.
#[derive(Clone, Debug, serde::Serialize)]
pub struct One {
    /// The pulls.
    pub pulls: Measured,
    /// The logins beside them, if there were any.
    pub logins: Option<Measured>,
}

/// What came of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outcome {
    /// Pulls in a second, as many as come.
    pub capacity: f64,
    /// One after the other.
    pub all: Vec<One>,
}

impl Outcome {
    /// The median of a figure over the measurements alone, or over those during logins.
    pub fn median(&self, during: bool, figure: impl Fn(&One) -> f64) -> f64 {
        let chosen = self.all.iter().filter(|one| one.logins.is_some() == during);
        let mut values: Vec<f64> = chosen.map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// How many times as long the 99th of a hundred pulls takes during logins.
    pub fn ratio(&self) -> f64 {
        self.median(true, |one| one.pulls.p99) / self.median(false, |one| one.pulls.p99)
    }
}

/// A hash at OWASP's parameters takes longer than this on any processor: what takes less was remembered.
const HASH_MIN: f64 = 2.0;

/// Measures in turn on a berth of its own, whose store is in a new directory below `directory`. Tells `progress` what it does.
///
/// # Errors
/// If it does not start, or refuses anything; if logins were remembered.
pub async fn measured(
    berth: &Path,
    directory: &Path,
    plan: Plan,
    progress: &dyn Fn(&str),
) -> io::Result<Outcome> {
    let data = tempfile::tempdir_in(directory)?;
    progress(&format!("making {} accounts", plan.accounts()));
    make_accounts(data.path(), plan.accounts()).await?;
    let berth = Berth::start_closed(berth, data.path(), |command| {
        command.args(["--set", "scrub.interval=off"]);
    })?;
    let target = Target {
        address: berth.address,
        process: Some(berth.id()),
        tls: None,
    };
    let pulls = Pulls::prepare(&target).await?;
    progress("finding out how many pulls it answers");
    let pull = async |connection: &mut Connection, number| pulls.turn(connection, number).await;
    let capacity = closed(
        &target,
        plan.connections,
        Until::Elapsed(Duration::from_secs(5)),
        pull,
    );
    let capacity = capacity.await?.rate();
    let (rate, lasting) = (capacity * plan.load, Duration::from_secs(plan.seconds));
    let (mut all, mut logged_in) = (Vec::new(), 0);
    for round in 0..plan.rounds {
        for during in [round % 2 == 1, round % 2 == 0] {
            let number = all.len() + 1;
            progress(&format!("measurement {number} of {}", 2 * plan.rounds));
            let pulled = open(&target, plan.connections, rate, lasting, pull);
            all.push(match during {
                false => One {
                    pulls: pulled.await?,
                    logins: None,
                },
                true => {
                    let first = logged_in;
                    let login = async |connection: &mut Connection, number| {
                        log_in(connection, &user(first + number)).await
                    };
                    let (pulls, logins) =
                        tokio::try_join!(pulled, open(&target, 4, plan.logins, lasting, login))?;
                    logged_in += logins.turns;
                    if logins.p50 < HASH_MIN {
                        return Err(io::Error::other("the logins were remembered"));
                    }
                    One {
                        pulls,
                        logins: Some(logins),
                    }
                }
            });
        }
    }
    berth.stop()?;
    Ok(Outcome { capacity, all })
}

fn user(number: u64) -> String {
    format!("user{number}")
}

/// As they are in a store that has been used.
async fn make_accounts(data: &Path, users: u64) -> io::Result<()> {
    let (project, _) = REPOSITORY.split_once('/').unwrap_or((REPOSITORY, ""));
    let tenants = accounts::made(data, project, false).await?;
    for number in 0..users {
        let new = NewUser::new(user(number), Secret::new(PASSWORD));
        let made = tenants.accounts.create_user(new);
        made.await.map_err(io::Error::other)?;
    }
    Ok(())
}

fn basic(name: &str) -> String {
    let encoded = STANDARD.encode(format!("{name}:{PASSWORD}"));
    format!("Authorization: Basic {encoded}\r\n")
}

fn token_request(name: &str) -> Request {
    let target = format!("/service/token?service=berth&scope=repository:{REPOSITORY}:pull");
    Request::new("GET", &target, &basic(name), None)
}

async fn log_in(connection: &mut Connection, name: &str) -> io::Result<u64> {
    let (_, bytes) = connection.ask(&token_request(name), &[], &[200]).await?;
    Ok(bytes)
}

/// GETs of a manifest and of blobs in turn, with a token.
struct Pulls(Vec<Request>);

impl Pulls {
    async fn prepare(target: &Target) -> io::Result<Self> {
        const BLOBS: u64 = 20;
        let mut connection = Connection::to(target);
        let blobs = Blobs::new(64 << 10, 0x6c6f_6769_6e73);
        let blobs: Vec<_> = (0..BLOBS).map(|number| blobs.get(number)).collect();
        for blob in &blobs {
            let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", blob.digest);
            let post = Request::new("POST", &path, &basic(ADMIN), Some(blob.length()));
            connection.ask(&post, &blob.parts(), &[201]).await?;
        }
        let manifest = manifest(&blobs[0], &blobs[1..]);
        let path = manifest_path(REPOSITORY, "latest");
        let headers = format!("{}Content-Type: {MANIFEST}\r\n", basic(ADMIN));
        let put = Request::new("PUT", &path, &headers, Some(manifest.len() as u64));
        connection.ask(&put, &[manifest.as_bytes()], &[201]).await?;

        let (_, reply) = connection.read(&token_request(ADMIN), &[], &[200]).await?;
        let reply: serde_json::Value = serde_json::from_slice(&reply)?;
        let token = reply["token"]
            .as_str()
            .ok_or_else(|| io::Error::other("no token"))?;
        let headers = format!("Authorization: Bearer {token}\r\nAccept: {MANIFEST}\r\n");
        let get = |path: &str| Request::new("GET", path, &headers, None);
        let pairs = blobs
            .iter()
            .flat_map(|blob| [get(&path), get(&blob_path(REPOSITORY, &blob.digest))]);
        Ok(Pulls(pairs.collect()))
    }

    async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        let request = &self.0[number as usize % self.0.len()];
        let (_, bytes) = connection.ask(request, &[], &[200]).await?;
        Ok(bytes)
    }
}
