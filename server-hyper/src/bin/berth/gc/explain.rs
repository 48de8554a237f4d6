//! `berth gc explain`.

use std::process::ExitCode;

use registry_core::Timestamp;
use registry_core::store::{BlobState, Explanation, Known, Why};
use server_hyper::control::Request;

use super::Explain;
use crate::progress::{duration, refuse_line, size, time};

pub(super) fn explain(args: &Explain) -> Result<ExitCode, String> {
    let client = args.place.client()?;
    let request = Request::GcExplain { digest: args.digest };
    let known: Result<Explanation, _> = client.ask(&request, &mut |_| {});
    let known = match known {
        Ok(known) => known,
        Err(error) => return Ok(refuse_line(&error.to_string())),
    };
    match args.json {
        true => println!("{}", serde_json::json!(known)),
        false => print!("{}", tell(&known)),
    }
    Ok(match known.blob {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// A time, and how far away it is.
fn when(at: Timestamp, now: Timestamp) -> String {
    match at > now {
        true => format!("{} (in {})", time(at), duration(at.since(now))),
        false => format!("{} ({} ago)", time(at), duration(now.since(at))),
    }
}

/// Why a blob is kept, or goes.
pub(super) fn because(why: &Why) -> String {
    match why {
        Why::Leased { repository, until } => format!("leased in {repository} until {}", time(*until)),
        Why::Condemned { remove_after } => format!(
            "condemned, as nothing pointed at it; may be removed from {} on",
            time(*remove_after)
        ),
        Why::Gone | Why::Named(_) | Why::Unheld => why.to_string(),
    }
}

fn state(known: &Known, now: Timestamp) -> String {
    let mut state = match known.state {
        BlobState::Live => "live".to_owned(),
        BlobState::Condemned { remove_after } => {
            format!("condemned; may be removed from {} on", when(remove_after, now))
        }
    };
    if known.suspect {
        state.push_str("; its bytes were found missing or wrong: the next push of it repairs them");
    }
    if let Some(from) = known.doomed {
        state.push_str(&format!(
            "; its location is to be unlinked from {} on",
            time(from)
        ));
    }
    state
}

fn tell(known: &Explanation) -> String {
    let now = known.now;
    let mut lines = vec![format!("blob {}", known.digest)];
    match &known.blob {
        Some(blob) => {
            lines.push(format!("  size    {}", size(blob.size)));
            lines.push(format!("  bytes   {}", blob.location));
            lines.push(format!("  state   {}", state(blob, now)));
        }
        None => lines.push("  there is no record of it".to_owned()),
    }
    let mut list = |what: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            lines.push(format!("{what}:"));
            lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
        }
    };
    let holders = known.holders.iter().map(|holder| {
        let tags: Vec<&str> = holder.tags.iter().map(|tag| tag.as_str()).collect();
        let untagged = registry_core::store::Holder {
            tags: Vec::new(),
            ..holder.clone()
        };
        match tags.as_slice() {
            [] => untagged.to_string(),
            [tag] => format!("{untagged}, tag {tag}"),
            tags => format!("{untagged}, tags {}", tags.join(", ")),
        }
    });
    list("held", holders.collect());
    let leases = known.leases.iter().map(|lease| match lease.until > now {
        true => format!("in {} until {}", lease.repository, when(lease.until, now)),
        false => format!("in {}, over since {}", lease.repository, when(lease.until, now)),
    });
    list("leased", leases.collect());
    let queued = known.queued.iter().map(|at| when(*at, now));
    list("looked at by the collector", queued.collect());
    if known.more {
        lines.push("and more than is listed here".to_owned());
    }
    lines.push(known.conclusion.clone());
    lines.join("\n") + "\n"
}
