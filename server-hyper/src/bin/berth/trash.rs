//! `berth trash`.

use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use registry_core::{Digest, RepositoryName, Timestamp};
use server_hyper::control::{Client, InTrash, Line, Listed, Request};

use crate::place::{EXIT_CODES, Place};
use crate::terminal;
use crate::undo::{end, sentence};

#[derive(Args)]
#[command(arg_required_else_help = true, after_help = format!("\
What is deleted stays in the trash of its repository for lifetimes.undo, with all that it needs, and goes by itself after \
that. `berth undelete` brings it back.

{EXIT_CODES}

Examples:
  berth trash list --data /srv/berth
  berth trash purge team/app --data /srv/berth"))]
pub(crate) struct Trash {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say what can be undeleted, and until when.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth trash list --data /srv/berth             of every repository
  berth trash list team/app --json --data /srv/berth"))]
    List(List),
    /// Let go for good what could be undeleted.
    #[command(after_help = format!("\
First says what would go, and asks; where there is nobody to ask, it wants --yes. What is deleted after that list was made \
stays. Nothing brings back what was purged. Bytes that nothing else names are given back by the collector, as after any \
delete: see berth gc.

{EXIT_CODES}

Examples:
  berth trash purge team/app --data /srv/berth                          all that was deleted there
  berth trash purge team/app@sha256:90c4ceec21ed… --yes --data /srv/berth
  berth trash purge --all --yes --server https://registry.example:5001 --token-file control.token"))]
    Purge(Purge),
}

#[derive(Args)]
struct List {
    /// Of this repository; of every one if none is named
    #[arg(value_name = "REPO")]
    repository: Option<RepositoryName>,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Purge {
    /// The trash of this repository, or one manifest in it
    #[arg(value_name = "REPO|REPO@DIGEST", required_unless_present = "all")]
    what: Option<Purged>,
    /// The trash of every repository
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// Do it, without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line: what would go, and what went
    #[arg(long)]
    json: bool,
}

/// What is to be purged: `REPO` or `REPO@DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Purged {
    repository: RepositoryName,
    digest: Option<Digest>,
}

impl FromStr for Purged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, digest) = match text.split_once('@') {
            None => (text, None),
            Some((repository, digest)) => {
                let digest = digest.parse().map_err(|why| format!("{digest:?}: {why}"))?;
                (repository, Some(digest))
            }
        };
        let repository = repository
            .parse()
            .map_err(|why| format!("{repository:?}: {why}; a repository is named without its registry"))?;
        Ok(Purged { repository, digest })
    }
}

/// What is in the trash of a repository.
struct Held {
    repository: RepositoryName,
    things: Vec<InTrash>,
}

impl Held {
    /// What was deleted after this was not seen.
    fn until(&self) -> Timestamp {
        self.things.iter().map(InTrash::at).max().unwrap_or_default()
    }
}

pub(crate) fn run(args: &Trash) -> ExitCode {
    match &args.what {
        What::List(args) => end(list(args)),
        What::Purge(args) => purge(args).unwrap_or_else(|why| end(Err(why))),
    }
}

/// Asks, and gives what is found.
fn found<T: serde::de::DeserializeOwned>(client: &Client, request: &Request) -> Result<Vec<T>, String> {
    let (mut things, mut odd) = (Vec::new(), None);
    let asked = client.ask::<Listed>(request, &mut |line| {
        if let Line::Found(value) = line {
            match serde_json::from_value(value) {
                Ok(thing) => things.push(thing),
                Err(error) => odd = Some(error.to_string()),
            }
        }
    });
    asked.map_err(|error| error.to_string())?;
    match odd {
        Some(why) => Err(format!("the server says something else than was asked: {why}")),
        None => Ok(things),
    }
}

/// What is in the trash of one repository, or of each that has any.
fn held(client: &Client, repository: Option<&RepositoryName>) -> Result<Vec<Held>, String> {
    let repositories = match repository {
        Some(repository) => vec![repository.clone()],
        None => found(client, &Request::Trashes {})?,
    };
    let mut held = Vec::new();
    for repository in repositories {
        let request = Request::Trash {
            repository: repository.clone(),
        };
        let things = found(client, &request)?;
        held.push(Held { repository, things });
    }
    Ok(held)
}

/// Prints what is, or what was done.
fn print(kind: &str, repository: &RepositoryName, things: &[InTrash], json: bool) {
    for thing in things {
        match json {
            true => println!(
                "{}",
                serde_json::json!({ kind: { "repository": repository, "what": thing } })
            ),
            false => println!("{}", sentence(repository, thing)),
        }
    }
}

fn list(args: &List) -> Result<(), String> {
    let held = held(&args.place.client()?, args.repository.as_ref())?;
    for held in &held {
        print("found", &held.repository, &held.things, args.json);
    }
    let count: usize = held.iter().map(|held| held.things.len()).sum();
    match args.json {
        true => println!("{}", serde_json::json!({ "done": { "count": count } })),
        false if count == 0 => println!("nothing can be undeleted"),
        false => {}
    }
    Ok(())
}

fn purge(args: &Purge) -> Result<ExitCode, String> {
    let client = args.place.client()?;
    let what = args.what.as_ref();
    let mut plan = held(&client, what.map(|what| &what.repository))?;
    let only = what.and_then(|what| what.digest);
    if let (Some(digest), Some(what)) = (only, what) {
        for held in &mut plan {
            held.things
                .retain(|thing| matches!(thing, InTrash::Manifest(manifest) if manifest.digest == digest));
        }
        if plan.iter().all(|held| held.things.is_empty()) {
            return Err(format!("{}@{digest} is not in the trash", what.repository));
        }
    }
    let count = plan.iter().map(|held| held.things.len()).sum();
    if count > 0 && !args.yes {
        for held in &plan {
            print("plan", &held.repository, &held.things, args.json);
        }
        if !may(count) {
            eprintln!("nothing was purged");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut went = 0;
    for held in plan.iter().filter(|held| !held.things.is_empty()) {
        let request = Request::Purge {
            repository: held.repository.clone(),
            digest: only,
            until: held.until(),
        };
        let purged: Vec<InTrash> = found(&client, &request)?;
        went += purged.len();
        if args.json || args.yes {
            print("purged", &held.repository, &purged, args.json);
        }
    }
    match args.json {
        true => println!("{}", serde_json::json!({ "done": { "count": went } })),
        false if count == 0 => println!("the trash is empty"),
        false => println!(
            "purged for good: {}; what they alone named goes with the collector",
            things(went)
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn things(count: usize) -> String {
    match count {
        1 => "1 thing".to_owned(),
        count => format!("{count} things"),
    }
}

/// Whether whoever sits at the terminal wants it.
fn may(count: usize) -> bool {
    if !terminal::is_there() {
        eprintln!(
            "berth: {} would go for good; to let them go, add --yes",
            things(count)
        );
        return false;
    }
    terminal::agrees(&format!("Let {} go for good?", things(count)))
}
