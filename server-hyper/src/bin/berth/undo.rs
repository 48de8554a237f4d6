//! `berth undelete`, `berth history` and `berth rollback`.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use registry_core::store::{TagChange, Undeleted};
use registry_core::{Digest, Reference, RepositoryName, Tag};
use serde::de::DeserializeOwned;
use server_hyper::control::{InTrash, Line, Listed, Request, RolledBack};

use crate::place::{self, EXIT_CODES, Place};
use crate::progress::{refuse_line, size, time};

/// A manifest in a repository: `REPO:TAG` or `REPO@DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    repository: RepositoryName,
    reference: Reference,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, reference) = match text.split_once('@') {
            Some((repository, digest)) => (
                repository,
                digest
                    .parse()
                    .map(Reference::Digest)
                    .map_err(|why| format!("{digest:?}: {why}"))?,
            ),
            None => {
                let (repository, tag) = text
                    .split_once(':')
                    .ok_or("neither REPO:TAG nor REPO@DIGEST, such as team/app:v1")?;
                (
                    repository,
                    tag.parse()
                        .map(Reference::Tag)
                        .map_err(|why| format!("{tag:?}: {why}"))?,
                )
            }
        };
        let repository = repository
            .parse()
            .map_err(|why| format!("{repository:?}: {why}; a repository is named without its registry"))?;
        Ok(Named {
            repository,
            reference,
        })
    }
}

/// A tag in a repository: `REPO:TAG`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tagged {
    repository: RepositoryName,
    tag: Tag,
}

impl FromStr for Tagged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Named>()? {
            Named {
                repository,
                reference: Reference::Tag(tag),
            } => Ok(Tagged { repository, tag }),
            Named { .. } => Err("a tag is wanted, REPO:TAG".to_owned()),
        }
    }
}

#[derive(Args)]
#[command(after_help = format!("\
A manifest or a tag that was deleted stays in the trash of its repository for lifetimes.undo, with all that it needs. A \
manifest comes back with the tags that went with it; a tag that was set again since stays where it is. A tag comes \
back with its manifest, if that was deleted too.

{EXIT_CODES}

Examples:
  berth undelete --list team/app --data /srv/berth
  berth undelete team/app:v1 --data /srv/berth
  berth undelete team/app@sha256:90c4ceec21ed… --server http://127.0.0.1:5001 --token-file control.token"))]
pub(crate) struct Undelete {
    /// What to bring back: REPO@DIGEST, a manifest; or REPO:TAG
    #[arg(value_name = "REPO@DIGEST|REPO:TAG", required_unless_present = "list")]
    what: Option<Named>,
    /// Say what of this repository can be brought back, and until when
    #[arg(long, value_name = "REPO", conflicts_with = "what")]
    list: Option<RepositoryName>,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = format!("\
The last move comes first. Deletes are moves too, and a tag that is gone has a history still.

{EXIT_CODES}

Examples:
  berth history team/app:latest --data /srv/berth
  berth history team/app:latest --limit 1000 --json --data /srv/berth"))]
pub(crate) struct History {
    /// The tag, such as team/app:latest
    #[arg(value_name = "REPO:TAG")]
    what: Tagged,
    /// At most so many moves
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = format!("\
Without --to the tag goes to where it was before its last move; so doing it twice changes nothing. If that manifest was \
deleted it is brought back first. It is a write like any push: it is in the history, and it fails if somebody else moves \
the tag at the same time.

{EXIT_CODES}

Examples:
  berth rollback team/app:latest --data /srv/berth
  berth rollback team/app:latest --to sha256:90c4ceec21ed… --data /srv/berth"))]
pub(crate) struct Rollback {
    /// The tag, such as team/app:latest
    #[arg(value_name = "REPO:TAG")]
    what: Tagged,
    /// The manifest that it shall point at
    #[arg(long, value_name = "DIGEST")]
    to: Option<Digest>,
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks; gives what is found to whoever reads JSON, or else to `found`.
pub(crate) fn ask<T: DeserializeOwned, F: DeserializeOwned>(
    place: &Place,
    request: &Request,
    json: bool,
    found: &mut dyn FnMut(F),
) -> Result<T, String> {
    let mut odd = None;
    let result = place.client()?.ask(request, &mut |line| match line {
        line if json => place::print(&line),
        Line::Found(value) => match serde_json::from_value(value) {
            Ok(value) => found(value),
            Err(error) => odd = Some(error.to_string()),
        },
        Line::Progress(_) | Line::Done(_) | Line::Error(_) => {}
    });
    match odd {
        Some(why) => Err(format!("the server says something else than was asked: {why}")),
        None => result.map_err(|error| error.to_string()),
    }
}

pub(crate) fn end(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse_line(&why),
    }
}

fn names(tags: &[Tag]) -> String {
    let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    match names.as_slice() {
        [] => "no tags".to_owned(),
        [one] => format!("tag {one}"),
        more => format!("tags {}", more.join(", ")),
    }
}

pub(crate) fn undelete(args: &Undelete) -> ExitCode {
    end(match (&args.list, &args.what) {
        (Some(repository), _) => list(args, repository),
        (None, Some(what)) => bring_back(args, what),
        (None, None) => Err("nothing is named".to_owned()),
    })
}

fn bring_back(args: &Undelete, what: &Named) -> Result<(), String> {
    let request = Request::Undelete {
        repository: what.repository.clone(),
        reference: what.reference.clone(),
    };
    let back: Undeleted = ask(&args.place, &request, args.json, &mut |(): ()| {})?;
    if args.json {
        println!("{}", serde_json::json!(back));
        return Ok(());
    }
    println!(
        "{}@{} is back, with {}",
        what.repository,
        back.digest,
        names(&back.tags)
    );
    for kept in &back.kept {
        println!(
            "tag {} was set again since, and stays at {}",
            kept.tag, kept.digest
        );
    }
    Ok(())
}

fn list(args: &Undelete, repository: &RepositoryName) -> Result<(), String> {
    let request = Request::Trash {
        repository: repository.clone(),
    };
    let listed: Listed = ask(&args.place, &request, args.json, &mut |in_trash| {
        println!("{}", sentence(repository, &in_trash));
    })?;
    if args.json {
        place::print(&Line::Done(serde_json::json!(listed)));
    } else if listed.count == 0 {
        println!("nothing of {repository} can be brought back");
    }
    Ok(())
}

/// What is in the trash, for people.
pub(crate) fn sentence(repository: &RepositoryName, in_trash: &InTrash) -> String {
    match in_trash {
        InTrash::Manifest(manifest) => format!(
            "{repository}@{}  {}, {}; deleted {} by {}, until {}",
            manifest.digest,
            size(manifest.size),
            names(&manifest.tags),
            time(manifest.at),
            manifest.by,
            time(manifest.until)
        ),
        InTrash::Tag(tag) => format!(
            "{repository}:{}  at {}; deleted {} by {}, until {}",
            tag.tag,
            tag.digest,
            time(tag.at),
            tag.by,
            time(tag.until)
        ),
    }
}

pub(crate) fn history(args: &History) -> ExitCode {
    let Tagged { repository, tag } = &args.what;
    let request = Request::History {
        repository: repository.clone(),
        tag: tag.clone(),
        limit: args.limit,
    };
    let listed = ask(&args.place, &request, args.json, &mut |change: TagChange| {
        let shown =
            |digest: Option<Digest>| digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
        println!(
            "{}  {}  from {} to {}",
            time(change.at),
            change.by,
            shown(change.from),
            shown(change.to)
        );
    });
    end(listed.map(|listed: Listed| {
        if args.json {
            place::print(&Line::Done(serde_json::json!(listed)));
        } else if listed.count == 0 {
            println!("{repository} never had a tag {tag}");
        } else if listed.more {
            println!("and more; --limit says how many are told");
        }
    }))
}

pub(crate) fn roll_back(args: &Rollback) -> ExitCode {
    let Tagged { repository, tag } = &args.what;
    let request = Request::RollBack {
        repository: repository.clone(),
        tag: tag.clone(),
        to: args.to,
    };
    let rolled = ask(&args.place, &request, args.json, &mut |(): ()| {});
    end(rolled.map(|rolled: RolledBack| {
        let before = match rolled.from {
            Some(from) => format!("it pointed at {from}"),
            None => "there was no such tag".to_owned(),
        };
        match args.json {
            true => println!("{}", serde_json::json!(rolled)),
            false => println!("{repository}:{tag} points at {}; {before}", rolled.to),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_told_by_its_punctuation() {
        let digest = Digest::sha256(b"x");
        let named: Named = format!("team/app@{digest}").parse().unwrap();
        assert_eq!(named.reference, Reference::Digest(digest));
        let tagged: Tagged = "team/app:v1".parse().unwrap();
        assert_eq!(
            (tagged.repository.as_str(), tagged.tag.as_str()),
            ("team/app", "v1")
        );
        for wrong in [
            "team/app",
            "team/app@v1",
            "Team:v1",
            "host:5000/team/app:v1",
            "a:",
        ] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
        assert!(format!("team/app@{digest}").parse::<Tagged>().is_err());
    }
}
