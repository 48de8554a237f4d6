//! A state in one line, for traces.

use super::state::*;
use std::fmt;

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (at, blob) in self
            .blobs
            .iter()
            .enumerate()
            .filter(|(_, blob)| **blob != Blob::default())
        {
            parts.push(format!("blob {at} {}", describe_blob(blob)));
        }
        for (at, it) in self.locations.iter().enumerate().filter(|(_, it)| it.used) {
            parts.push(format!("location {at} {}", describe_location(it)));
        }
        for (at, here) in self
            .repositories
            .iter()
            .enumerate()
            .filter(|(_, here)| !here.is_empty())
        {
            parts.push(format!("repository {at}{}", describe_repository(here)));
        }
        f.write_str(&parts.join("; "))
    }
}

impl Repository {
    fn is_empty(&self) -> bool {
        self.naming != Naming::Dropped
            && *self
                == Repository {
                    naming: self.naming,
                    ..Repository::default()
                }
    }
}

fn describe_blob(blob: &Blob) -> String {
    let mut text = match blob.existence {
        Existence::Absent => "absent".to_owned(),
        existence => format!("{existence:?} at location {}", blob.location).to_lowercase(),
    };
    if blob.remove_after > 0 {
        text += &format!(" (removable in {})", blob.remove_after);
    }
    let due: Vec<String> = blob
        .pending
        .iter()
        .filter(|entry| entry.due != 0)
        .map(describe_due)
        .collect();
    if !due.is_empty() {
        text += &format!(", pending {}", due.join(" and "));
    }
    text
}

fn describe_due(entry: &Entry) -> String {
    match entry.due {
        OVERDUE => "overdue".to_owned(),
        DUE_NOW => "now".to_owned(),
        later => format!("in {}", later - DUE_NOW),
    }
}

fn describe_location(it: &Location) -> String {
    let mut text = format!("{:?}", it.bytes).to_lowercase();
    match it.claim {
        ABSENT => {}
        NEVER => text += ", claimed",
        REACHED => text += ", claim expired",
        later => text += &format!(", claimed for {}", later - REACHED),
    }
    match it.doomed {
        ABSENT => {}
        REACHED => text += ", doomed",
        later => text += &format!(", doomed in {}", later - REACHED),
    }
    if it.write > 0 {
        text += ", a write in flight";
    }
    if it.stale_write > 0 {
        text += ", an earlier session's write in flight";
    }
    text
}

fn describe_repository(here: &Repository) -> String {
    let mut text = match here.naming {
        Naming::Live => String::new(),
        Naming::Dropped => " (dropped)".to_owned(),
        Naming::Free => " (an id that nothing names)".to_owned(),
    };
    for (manifest, name) in here.manifests.iter().zip(["image", "index"]) {
        match manifest.presence {
            Presence::Absent => {}
            Presence::Live => text += &format!(" {name}"),
            Presence::Trash => text += &format!(" {name} in the trash"),
        }
        for (blob, edge) in manifest.edges.iter().enumerate() {
            match edge {
                Edge::None => {}
                Edge::Opens => text += &format!(" edge to {blob}"),
                Edge::Holds => text += &format!(" deferred edge to {blob}"),
            }
        }
        for (blob, _) in manifest
            .old_edges
            .iter()
            .enumerate()
            .filter(|(_, edge)| **edge != Edge::None)
        {
            text += &format!(" edge of a deleted put to {blob}");
        }
    }
    for (blob, lease) in here.leases.iter().enumerate().filter(|(_, lease)| **lease > 0) {
        text += &format!(" lease on {blob} for {lease}");
    }
    for (blob, promise) in here
        .promises
        .iter()
        .enumerate()
        .filter(|(_, promise)| **promise > 0)
    {
        text += &format!(" told that {blob} exists, for {promise}");
    }
    text
}
