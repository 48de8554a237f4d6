//! `berth gc --dry-run`.

use std::process::ExitCode;

use registry_core::store::{Cause, Collected, Outlook, Release, Whose};
use registry_gc::{Plan, Planned, Tally};
use server_hyper::control::{Collect, Line, Request};

use super::{Gc, ask};
use crate::progress::{size, table, time};

/// Things that are told one by one; more are only counted.
const TOLD: usize = 20;

pub(super) fn plan(args: &Gc) -> Result<ExitCode, String> {
    let client = args.place.client()?;
    let request = Request::GcPlan(Collect {
        each: true,
        ..args.asked()
    });
    let (mut told, mut more) = (Vec::new(), 0_usize);
    let plan: Plan = ask(&client, &request, args.json, &mut |line| {
        if let Line::Found(found) = line
            && let Ok(planned) = serde_json::from_value::<Planned>(found)
            && let Some(sentence) = sentence(&planned)
        {
            match told.len() < TOLD {
                true => told.push(sentence),
                false => more += 1,
            }
        }
    })?;
    if args.json {
        return Ok(ExitCode::SUCCESS);
    }
    for sentence in &told {
        println!("{sentence}");
    }
    if more > 0 {
        println!("and {more} more; --json tells all");
    }
    if !told.is_empty() {
        println!();
    }
    print!("{}", totals(&plan));
    match plan.any() {
        true => println!("\nnothing was changed; to do it: {}", deed(std::env::args())),
        false => println!("\nnothing would go"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What would be done to something, and why; `None` if it stays.
fn sentence(planned: &Planned) -> Option<String> {
    Some(match planned {
        Planned::Release(release) => released(release),
        Planned::Blob(outlook) => {
            let deed = match outlook.step {
                Collected::Condemned => "condemn",
                Collected::Removed => "remove",
                Collected::Dropped | Collected::Requeued | Collected::Waits | Collected::Conflict => {
                    return None;
                }
            };
            let Outlook {
                digest,
                why,
                size: of,
                ..
            } = &**outlook;
            let last = match outlook.last_held_by.as_slice() {
                [] => String::new(),
                holders => {
                    let names: Vec<String> = holders.iter().map(Whose::to_string).collect();
                    format!("; last held by {}", names.join(", "))
                }
            };
            format!(
                "{deed} {digest} ({}): {}{last}",
                size(of.unwrap_or(0)),
                super::explain::because(why)
            )
        }
        Planned::Upload { id, expired } => {
            format!(
                "end upload {id}: no progress, its claim expired at {}",
                time(*expired)
            )
        }
        Planned::Unlink {
            location, size: of, ..
        } => {
            let of = of.map_or_else(String::new, |of| format!(" ({})", size(of)));
            format!("unlink {location}{of}: nothing names it any more")
        }
    })
}

/// What would be done to a manifest or a tag, and why.
fn released(release: &Release) -> String {
    let Release {
        cause,
        repository,
        manifest,
        tag,
        blobs,
    } = release;
    let what = match (manifest, tag) {
        (Some(digest), _) => format!("manifest {digest}"),
        (None, Some(tag)) => format!("tag {tag}"),
        (None, None) => "something".to_owned(),
    };
    let (deed, why) = match cause {
        Cause::Untagged { since } => ("delete", format!("no tag since {}", time(*since))),
        Cause::Trash { until } => (
            "purge",
            format!("deleted; could be brought back until {}", time(*until)),
        ),
        Cause::Deleted => ("clean up", "deleted".to_owned()),
        Cause::Repository => ("clean up", "its repository was deleted".to_owned()),
    };
    let alone = match blobs.len() {
        0 => String::new(),
        count => {
            let bytes = blobs.iter().map(|blob| blob.size).sum();
            format!("; it alone holds {count} blobs ({})", size(bytes))
        }
    };
    format!("{deed} {what} in {repository}: {why}{alone}")
}

fn totals(plan: &Plan) -> String {
    let row = |what: &str, tally: &Tally| vec![what.to_owned(), tally.count.to_string(), size(tally.bytes)];
    let head = |what: &str, of: &str| vec![what.to_owned(), of.to_owned(), "size".to_owned()];
    let mut rows = vec![
        head("what would become of it", "count"),
        row("manifests without a tag: deleted", &plan.untagged),
        row("deleted, and kept no longer: purged", &plan.trash),
        row("deleted manifests: cleaned up", &plan.deleted),
        row("manifests of deleted repositories: cleaned up", &plan.swept),
        row("blobs that nothing points at: condemned", &plan.condemn),
        row("blobs that were condemned: removed", &plan.remove),
        row("files that nothing names: unlinked", &plan.unlink),
        vec![
            "uploads without progress: ended".to_owned(),
            plan.uploads.to_string(),
        ],
        row("blobs in the queue: kept", &plan.keep),
    ];
    if plan.cleanups > 0 {
        rows.push(vec![
            "what is left of deletes: cleaned up".to_owned(),
            plan.cleanups.to_string(),
        ]);
    }
    if !plan.repositories.is_empty() {
        rows.push(Vec::new());
        rows.push(head("by the repository that holds or last held it", "blobs"));
        let mut repositories: Vec<_> = plan.repositories.iter().collect();
        repositories.sort_by_key(|(name, tally)| (std::cmp::Reverse(tally.bytes), (*name).clone()));
        rows.extend(repositories.into_iter().map(|(name, tally)| row(name, tally)));
    }
    let mut text = table(&rows);
    let manifests = [plan.untagged, plan.trash, plan.deleted, plan.swept];
    if manifests.iter().any(|tally| tally.bytes > 0) {
        text.push_str(
            "\nthe size of a manifest is that of the blobs that nothing else holds; they go after it, when nothing leases them\n",
        );
    }
    if plan.untagged.bytes > 0 {
        text.push_str(
            "what has no tag goes to the trash first, and can be brought back for lifetimes.undo\n",
        );
    }
    if plan.unfollowed {
        text.push_str(
            "there may be more manifests without a tag: a run looks first at what happened lately\n",
        );
    }
    if plan.untold > 0 {
        text.push_str(&format!(
            "of {} blobs nothing can be told, as their records are damaged; a run mends what can be mended\n",
            plan.untold
        ));
    }
    if let Some(next) = plan.next {
        text.push_str(&format!(
            "\nthe first of what is leased or condemned is looked at again at {}\n",
            time(next)
        ));
    }
    if plan.rough {
        text.push_str(
            "there is too much in the queue for exact sums: some may be counted twice or left out\n",
        );
    }
    text
}

/// The command that does what this one only told.
fn deed(command: impl Iterator<Item = String>) -> String {
    let words = command.skip(1).filter(|word| word != "--dry-run");
    let quoted = words.map(|word| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+".contains(&byte);
        match !word.is_empty() && word.bytes().all(plain) {
            true => word,
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    });
    std::iter::once("berth".to_owned())
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_would_do_it_is_this_one_without_its_dry_run() {
        let words = [
            "berth",
            "gc",
            "--dry-run",
            "--grace",
            "0s",
            "--data",
            "/my data/it's",
        ];
        assert_eq!(
            deed(words.map(str::to_owned).into_iter()),
            r"berth gc --grace 0s --data '/my data/it'\''s'"
        );
    }
}
