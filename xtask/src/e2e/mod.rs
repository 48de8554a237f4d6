//! Real clients against a real server: each pushes, pulls back, mounts, lists and deletes.
//!
//! There are two parts: one against a registry that is open to everybody, where clients do all that they can do with images,
//! and one against a berth with accounts ([`accounts`]), where they log in.
//!
//! Every client talks through a proxy that counts its requests, so that "the layer was mounted" is read off
//! the wire; what a registry holds is read with requests of our own, so that no client vouches for itself.

mod accounts;
mod containerd;
mod docker;
mod helm;
mod oras;
mod podman;
mod skopeo;
mod source_tools;

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::http1::request;
use crate::images::{self, ImageSet};
use crate::layout::{Closure, closure, remove, sha256};
use crate::proxy::{Exchange, Proxy};
use crate::report::{Job, counts, seconds, table};
use crate::server::Server;
use crate::target;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tiny images and the clients that Debian and PyPI have; otherwise the full set, and crane and regctl too.
    #[arg(long)]
    slice: bool,
    /// Only this client; may be given more than once.
    #[arg(long, value_enum)]
    only: Vec<Client>,
    /// Only this part. With accounts is berth alone: no other `--server`, and none that runs already.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// The server to run against.
    #[arg(long, value_enum, default_value = "hyper")]
    server: Server,
    /// Run against a registry that already runs at HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "server")]
    against: Option<String>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// What clients are driven against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A registry without accounts.
    Open,
    /// A berth with accounts, that clients log in to.
    Accounts,
}

/// The clients, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    Skopeo,
    Docker,
    Containerd,
    Podman,
    Buildah,
    Oras,
    Helm,
    Crane,
    Regctl,
}

impl Client {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Built from source, which takes longer than the rest of the slice together.
    fn built_from_source(self) -> bool {
        matches!(self, Self::Crane | Self::Regctl)
    }

    /// Whether its logins are looked at.
    fn logs_in(self) -> bool {
        matches!(
            self,
            Self::Skopeo | Self::Docker | Self::Containerd | Self::Podman | Self::Buildah
        )
    }

    /// Whether what it does with images is looked at. buildah's pushes and pulls are podman's.
    fn round_trips(self) -> bool {
        self != Self::Buildah
    }

    fn run(self, bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
        match self {
            Self::Skopeo => skopeo::run(bench, checks),
            Self::Docker => docker::run(bench, checks),
            Self::Containerd => containerd::run(bench, checks),
            Self::Podman => podman::run(bench, checks),
            Self::Buildah => bail!("its images are not looked at"),
            Self::Oras => oras::run(bench, checks),
            Self::Helm => helm::run(bench, checks),
            Self::Crane => source_tools::crane(bench, checks),
            Self::Regctl => source_tools::regctl(bench, checks),
        }
    }
}

/// What every client is checked for, in the order of the closing table.
const COLUMNS: [&str; 9] = [
    "start", "push", "pull", "mount", "zstd", "schema2", "index", "list", "delete",
];

/// The checks of one client as they are made.
pub(crate) struct Checks {
    client: String,
    jobs: Vec<(&'static str, Job)>,
}

impl Checks {
    /// Makes one check, which is a column of the closing table.
    fn check(&mut self, column: &'static str, work: impl FnOnce() -> Result<()>) {
        let job = Job::run(&format!("{} {column}", self.client), || {
            work().map(|()| String::new())
        });
        eprintln!(
            "  {:<22} {} ({})",
            job.name,
            job.outcome.word(),
            seconds(job.took)
        );
        if let crate::report::Outcome::Failed(why) = &job.outcome {
            eprintln!("      {why}");
        }
        self.jobs.push((column, job));
    }
}

/// What a client's checks work with.
pub(crate) struct Bench<'a> {
    images: &'a ImageSet,
    proxy: &'a Proxy,
    /// The client's own folder.
    work: PathBuf,
    /// The registry as the client is to address it: the proxy.
    registry: String,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut jobs = Vec::new();
    for server in args.server.each() {
        if args.part != Some(Part::Accounts) {
            jobs.extend(open(args, server)?);
        }
        if args.against.is_some() {
            break;
        }
        if args.part != Some(Part::Open) && server == Server::Hyper {
            jobs.extend(with_accounts(args)?);
        }
    }
    ensure!(!jobs.is_empty(), "--part, --only and --server leave no check");
    if args.json {
        let (passed, failed) = counts(&jobs);
        let jobs: Vec<Value> = jobs.iter().map(Job::to_json).collect();
        println!(
            "{}",
            json!({ "checks": jobs, "passed": passed, "failed": failed })
        );
    } else {
        let (passed, failed) = counts(&jobs);
        println!("{passed} passed, {failed} failed");
    }
    Ok(counts(&jobs).1 == 0)
}

/// The slice without accounts against one server, for `cargo xtask test`.
pub(crate) fn slice(server: Server, quiet: bool) -> Result<String> {
    counted(&open(&Args::slice(server, quiet), server)?)
}

/// The slice with accounts, for `cargo xtask test`.
pub(crate) fn slice_with_accounts(quiet: bool) -> Result<String> {
    counted(&with_accounts(&Args::slice(Server::Hyper, quiet))?)
}

fn counted(jobs: &[Job]) -> Result<String> {
    let (passed, failed) = counts(jobs);
    ensure!(failed == 0, "{passed} checks passed, {failed} failed");
    Ok(format!("{passed} checks"))
}

impl Args {
    fn slice(server: Server, quiet: bool) -> Self {
        Self {
            slice: true,
            only: Vec::new(),
            part: None,
            server,
            against: None,
            json: quiet,
        }
    }

    fn chosen(&self, client: Client) -> bool {
        if self.only.is_empty() {
            !(self.slice && client.built_from_source())
        } else {
            self.only.contains(&client)
        }
    }
}

/// Runs `checks` in an empty folder, and leaves nothing of it.
fn in_work(checks: impl FnOnce(&Path) -> Result<Vec<Job>>) -> Result<Vec<Job>> {
    let work = target().join("e2e");
    // Left by a run that was cut off.
    docker::unmount_leftovers(&work)?;
    remove(&work)?;
    std::fs::create_dir_all(&work)?;
    let jobs = checks(&work);
    if let Err(error) = docker::unmount_leftovers(&work).and_then(|()| remove(&work)) {
        eprintln!("could not clean up: {error:#}");
    }
    jobs
}

fn open(args: &Args, server: Server) -> Result<Vec<Job>> {
    let images = images::make(args.slice)?;
    in_work(|work| open_in(args, server, &images, work))
}

fn open_in(args: &Args, server: Server, images: &ImageSet, work: &Path) -> Result<Vec<Job>> {
    // Named, since it must live until the clients are done.
    let (_running, upstream) = match &args.against {
        Some(address) => (
            None,
            address.to_socket_addrs()?.next().context("no such address")?,
        ),
        None => {
            let running = server.start(&work.join("server"))?;
            let address = running.address;
            (Some(running), address)
        }
    };
    let proxy = Proxy::start(upstream)?;
    let clients = Client::value_variants().iter().copied();
    let clients = clients.filter(|client| args.chosen(*client) && client.round_trips());
    let run = clients.map(|client| {
        let bench = Bench {
            images,
            proxy: &proxy,
            work: work.join(client.name()),
            registry: proxy.authority(),
        };
        one_client(&client.name(), &bench.work, |checks| client.run(&bench, checks))
    });
    Ok(close(args, &COLUMNS, run.collect()))
}

fn with_accounts(args: &Args) -> Result<Vec<Job>> {
    let clients = Client::value_variants().iter().copied();
    let clients = clients.filter(|client| args.chosen(*client) && client.logs_in());
    let clients: Vec<Client> = clients.collect();
    if clients.is_empty() {
        return Ok(Vec::new());
    }
    // The tiny ones: what is looked at is who may have them.
    let images = images::make(true)?;
    in_work(|work| {
        let tenants = accounts::Tenants::start(&images, &work.join("server"))?;
        let run = clients.into_iter().map(|client| {
            let name = client.name();
            let own = work.join(&name);
            one_client(&name, &own, |checks| {
                accounts::run(client, &tenants, &images, &own, checks)
            })
        });
        Ok(close(args, &accounts::COLUMNS, run.collect()))
    })
}

/// Shows the table, and returns the checks.
fn close(args: &Args, columns: &[&str], checks: Vec<Checks>) -> Vec<Job> {
    if checks.is_empty() {
        return Vec::new();
    }
    show(args, columns, &checks);
    let jobs = checks.into_iter().flat_map(|checks| checks.jobs);
    jobs.map(|(_, job)| job).collect()
}

fn one_client(name: &str, work: &Path, run: impl FnOnce(&mut Checks) -> Result<()>) -> Checks {
    eprintln!("\n{name}");
    let mut checks = Checks {
        client: name.to_owned(),
        jobs: Vec::new(),
    };
    let made = std::fs::create_dir_all(work).map_err(anyhow::Error::from);
    // What a client needs before its first check (a program, a daemon) is a check too: its absence is a failure.
    if let Err(error) = made.and_then(|()| run(&mut checks)) {
        checks.check("start", || Err(error));
    }
    checks
}

/// The closing table: clients by checks.
fn show(args: &Args, columns: &[&str], checks: &[Checks]) {
    let heading = std::iter::once(&"client").chain(columns);
    let mut rows = vec![heading.map(|word| (*word).to_owned()).collect::<Vec<_>>()];
    for client in checks {
        let cell = |column: &&str| match client.jobs.iter().find(|(name, _)| name == column) {
            Some((_, job)) if job.outcome.passed() => seconds(job.took),
            Some(_) => "FAILED".to_owned(),
            None => "-".to_owned(),
        };
        rows.push(
            std::iter::once(client.client.clone())
                .chain(columns.iter().map(cell))
                .collect(),
        );
    }
    let text = format!("\n{}", table(&rows));
    if args.json {
        eprintln!("{text}")
    } else {
        println!("{text}")
    }
}

impl Bench<'_> {
    /// `127.0.0.1:PORT/repository:tag`.
    fn name(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.registry)
    }

    /// The layout's tag as skopeo and podman write it.
    fn source(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.images.layout.path.display())
    }

    /// A manifest's bytes and digest as the registry serves them, checked against each other and against HEAD.
    fn manifest(&self, repository: &str, reference: &str) -> Result<(String, Vec<u8>)> {
        let target = format!("/v2/{repository}/manifests/{reference}");
        let answer = request(&self.registry, "GET", &target)?;
        ensure!(answer.head.status() == 200, "GET {target}: {}", answer.head.start);
        let digest = sha256(&answer.body);
        let head = request(&self.registry, "HEAD", &target)?;
        for head in [&answer.head, &head.head] {
            let told = head.header("docker-content-digest");
            ensure!(
                told == Some(digest.as_str()),
                "{target} is told to be {told:?} and is {digest}"
            );
            let length = head.header("content-length");
            ensure!(
                length.is_none_or(|length| length == answer.body.len().to_string()),
                "{target}: length {length:?}"
            );
        }
        Ok((digest, answer.body))
    }

    /// Everything that a tag needs, as the registry serves it to anybody, every byte checked.
    fn served(&self, repository: &str, tag: &str) -> Result<Closure> {
        let (digest, _) = self.manifest(repository, tag)?;
        closure(
            &digest,
            &mut |digest| Ok(self.manifest(repository, digest)?.1),
            &mut |digest| {
                let target = format!("/v2/{repository}/blobs/{digest}");
                let answer = request(&self.registry, "GET", &target)?;
                ensure!(answer.head.status() == 200, "GET {target}: {}", answer.head.start);
                Ok(answer.body)
            },
        )
    }

    /// That a tag is served whole, and is `digest`.
    fn served_as(&self, repository: &str, tag: &str, digest: &str) -> Result<()> {
        let found = self.served(repository, tag)?.manifests.swap_remove(0);
        ensure!(
            found == digest,
            "{repository}:{tag} is {found}, {digest} was pushed"
        );
        Ok(())
    }

    /// The tags of a repository; none if it is unknown.
    fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let target = format!("/v2/{repository}/tags/list");
        let answer = request(&self.registry, "GET", &target)?;
        match answer.head.status() {
            200 => {
                let body: Value = serde_json::from_slice(&answer.body)?;
                let tags = body["tags"].as_array().cloned().unwrap_or_default();
                Ok(tags
                    .iter()
                    .filter_map(|tag| tag.as_str().map(str::to_owned))
                    .collect())
            }
            404 => Ok(Vec::new()),
            _ => bail!("GET {target}: {}", answer.head.start),
        }
    }

    /// That a repository has exactly these tags, in order.
    fn has_tags(&self, repository: &str, wanted: &[&str]) -> Result<()> {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        let found = self.tags(repository)?;
        ensure!(
            found == wanted,
            "{repository} lists {found:?}, should list {wanted:?}"
        );
        Ok(())
    }

    /// That the registry lists `artifact` among the referrers of `subject`.
    fn has_referrer(&self, repository: &str, subject: &str, artifact: &str) -> Result<()> {
        let target = format!("/v2/{repository}/referrers/{subject}");
        let answer = request(&self.registry, "GET", &target)?;
        ensure!(answer.head.status() == 200, "GET {target}: {}", answer.head.start);
        let index: Value = serde_json::from_slice(&answer.body)?;
        let listed = index["manifests"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["digest"] == artifact));
        ensure!(listed, "GET {target} does not list {artifact}: {index}");
        Ok(())
    }

    /// Deletes a tag's manifest by digest, for clients that cannot delete.
    fn delete(&self, repository: &str, tag: &str) -> Result<()> {
        let (digest, _) = self.manifest(repository, tag)?;
        let target = format!("/v2/{repository}/manifests/{digest}");
        let answer = request(&self.registry, "DELETE", &target)?;
        ensure!(
            answer.head.status() == 202,
            "DELETE {target}: {}",
            answer.head.start
        );
        Ok(())
    }

    /// That a tag is gone at once: not served, by tag or by the digest it had, and not listed.
    fn gone(&self, repository: &str, tag: &str, digest: Option<&str>) -> Result<()> {
        for reference in std::iter::once(tag).chain(digest) {
            for method in ["GET", "HEAD"] {
                let target = format!("/v2/{repository}/manifests/{reference}");
                let status = request(&self.registry, method, &target)?.head.status();
                ensure!(
                    status == 404,
                    "{method} {target} answers {status} after the delete"
                );
            }
        }
        let listed = self.tags(repository)?;
        ensure!(
            !listed.iter().any(|name| name == tag),
            "{repository} still lists {tag}: {listed:?}"
        );
        Ok(())
    }

    /// Runs a push into another repository and reads off the wire that the layers' bytes stayed where they were:
    /// every layer was mounted, and none was sent.
    fn mounts(&self, layers: &[String], push: impl FnOnce() -> Result<()>) -> Result<()> {
        all_mounted(&self.watch(push)?, layers)
    }

    /// Runs a second push of what is there already and reads off the wire that no blob was sent again.
    fn reuses(&self, blobs: &[String], push: impl FnOnce() -> Result<()>) -> Result<()> {
        let log = self.watch(push)?;
        // Some clients find the manifest there and ask no further.
        ensure!(!log.is_empty(), "the push asked nothing of the registry");
        none_sent(&log, blobs)
    }

    fn watch(&self, push: impl FnOnce() -> Result<()>) -> Result<Vec<Exchange>> {
        let mark = self.proxy.mark();
        push()?;
        Ok(self.proxy.since(mark))
    }
}

/// That each of `layers` was mounted, and none was sent.
fn all_mounted(log: &[Exchange], layers: &[String]) -> Result<()> {
    for layer in layers {
        let mounted = log
            .iter()
            .any(|exchange| exchange.mounted() && names(&exchange.target, layer));
        ensure!(mounted, "{layer} was not mounted: {}", uploads(log));
    }
    none_sent(log, layers)
}

/// That no upload of any of `digests` was finished: neither by a PUT nor by a POST that carries the whole blob.
fn none_sent(log: &[Exchange], digests: &[String]) -> Result<()> {
    let finishes = |exchange: &Exchange| exchange.uploads() && !exchange.target.contains("mount=");
    for digest in digests {
        let sent = log
            .iter()
            .any(|exchange| finishes(exchange) && names(&exchange.target, digest));
        ensure!(!sent, "{digest} was sent again: {}", uploads(log));
    }
    Ok(())
}

/// Whether a target names a digest, with its colon encoded or not.
fn names(target: &str, digest: &str) -> bool {
    digest
        .split_once(':')
        .is_some_and(|(_, hex)| target.contains(hex))
}

/// The upload requests of a log, for an error.
fn uploads(log: &[Exchange]) -> String {
    let lines = log.iter().filter(|exchange| exchange.uploads());
    let lines = lines.map(|exchange| {
        format!(
            "{} {} -> {} ({} B)",
            exchange.method,
            exchange.target,
            exchange.status,
            exchange.sent()
        )
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_counts_as_mounted_only_if_the_mount_was_granted_and_nothing_was_sent() {
        let layers = ["sha256:ab".to_owned()];
        let exchange = |method, target, status| Exchange::new(method, target, status);
        let asked = "/v2/two/blobs/uploads/?mount=sha256%3Aab&from=one";
        let granted = exchange("POST", asked, 201);
        assert!(all_mounted(std::slice::from_ref(&granted), &layers).is_ok());
        // Refused with a session instead, never asked, or granted and yet sent.
        assert!(all_mounted(&[exchange("POST", asked, 202)], &layers).is_err());
        assert!(all_mounted(&[], &layers).is_err());
        for method in ["PUT", "POST"] {
            let sent = exchange(method, "/v2/two/blobs/uploads/1?digest=sha256:ab", 201);
            assert!(all_mounted(&[granted.clone(), sent], &layers).is_err());
        }
    }
}
