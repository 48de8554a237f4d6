//! How many instructions parts of a request take, counted by valgrind, so that the count is the same however busy the machine is.
//!
//! A part is run in a process of its own, once for some turns and once for more; what the additional turns took is told for one
//! of them, so that starting, filling a store and warming up do not count. valgrind's processor has no instructions for
//! SHA-256: what a part hashes is counted as it would be done without them, so parts hash little.
//!
//! [`PARTS`] has them; another is one more entry. The counts that are held are in `instructions.json`.

mod requests;
mod tokens;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use http::{HeaderMap, Method, Uri};
use registry_core::Digest;
use registry_core::http::Operation;
use registry_core::manifest::ParsedManifest;
use serde::{Deserialize, Serialize};

use crate::load::content::{Blobs, MANIFEST, manifest};

/// One turn of a part.
type Turn = Box<dyn FnMut()>;

/// What is counted.
pub struct Part {
    /// By which it is in the table.
    pub name: &'static str,
    /// Turns that are counted: so many that what else happens in the process disappears.
    turns: u64,
    /// Makes what its turns need.
    prepare: fn() -> io::Result<Turn>,
}

/// Turns that are not counted.
const WARM: u64 = 50;

/// All of them.
pub const PARTS: [Part; 11] = [
    Part {
        name: "digest-parse",
        turns: 20_000,
        prepare: || {
            let text = Digest::sha256(b"some").to_string();
            Ok(Box::new(move || {
                let _parsed = black_box(black_box(&text).parse::<Digest>());
            }))
        },
    },
    Part {
        name: "digest-format",
        turns: 20_000,
        prepare: || {
            let digest = Digest::sha256(b"some");
            Ok(Box::new(move || drop(black_box(black_box(&digest).to_string()))))
        },
    },
    Part {
        name: "manifest-parse",
        turns: 2000,
        prepare: || {
            let blobs = Blobs::new(64, 1);
            let layers: Vec<_> = (1..9).map(|number| blobs.get(number)).collect();
            let text = manifest(&blobs.get(0), &layers);
            Ok(Box::new(move || {
                let parsed = ParsedManifest::parse(Some(MANIFEST), black_box(text.as_bytes()));
                drop(black_box(parsed));
            }))
        },
    },
    Part {
        name: "operation-parse-manifest",
        turns: 10_000,
        prepare: || operation(Method::GET, "/v2/library/alpine/manifests/latest"),
    },
    Part {
        name: "operation-parse-blob",
        turns: 10_000,
        prepare: || {
            let digest = Digest::sha256(b"some");
            operation(Method::GET, &format!("/v2/library/alpine/blobs/{digest}"))
        },
    },
    Part {
        name: "operation-parse-mount",
        turns: 10_000,
        prepare: || {
            let digest = Digest::sha256(b"some");
            let query = format!("mount={digest}&from=library%2Fdebian");
            operation(
                Method::POST,
                &format!("/v2/library/alpine/blobs/uploads/?{query}"),
            )
        },
    },
    Part {
        name: "manifest-get-tag",
        turns: 1000,
        prepare: || requests::of_image(Method::GET, |image| format!("manifests/{}", image.tag)),
    },
    Part {
        name: "manifest-get-digest",
        turns: 1000,
        prepare: || requests::of_image(Method::GET, |image| format!("manifests/{}", image.digest)),
    },
    Part {
        name: "manifest-head-tag",
        turns: 1000,
        prepare: || requests::of_image(Method::HEAD, |image| format!("manifests/{}", image.tag)),
    },
    Part {
        name: "blob-head",
        turns: 1000,
        prepare: || requests::of_image(Method::HEAD, |image| format!("blobs/{}", image.layer)),
    },
    Part {
        name: "token-check",
        turns: 5000,
        prepare: tokens::check,
    },
];

fn operation(method: Method, target: &str) -> io::Result<Turn> {
    let uri: Uri = target.parse().map_err(io::Error::other)?;
    let headers = HeaderMap::new();
    Operation::parse(&method, &uri, &headers).map_err(io::Error::other)?;
    Ok(Box::new(move || {
        let parsed = Operation::parse(black_box(&method), black_box(&uri), &headers);
        drop(black_box(parsed));
    }))
}

impl Part {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Part> {
        PARTS.iter().find(|part| part.name == name)
    }

    /// Takes turns, in this process.
    ///
    /// # Errors
    /// If it cannot be prepared.
    pub fn take(&self, turns: u64) -> io::Result<()> {
        let mut turn = (self.prepare)()?;
        (0..turns).for_each(|_| turn());
        Ok(())
    }

    /// Instructions of a turn: the least of three counts, as where things lie in memory is a matter of chance. `program` is
    /// run with the part's name and how many turns to [`take`](Part::take).
    ///
    /// # Errors
    /// If valgrind is not there, or the program fails.
    pub fn count(&self, program: &Path) -> io::Result<u64> {
        let counts: io::Result<Vec<u64>> = (0..3).map(|_| self.counted(program)).collect();
        Ok(counts?.into_iter().min().unwrap_or_default())
    }

    fn counted(&self, program: &Path) -> io::Result<u64> {
        let run = |turns: u64| collected(program, &[self.name, &turns.to_string()]);
        let (fewer, more) = std::thread::scope(|scope| {
            let fewer = scope.spawn(|| run(WARM));
            let more = run(WARM + self.turns);
            (fewer.join(), more)
        });
        let fewer = fewer.map_err(|_| io::Error::other("a thread panicked"))??;
        Ok(more?.saturating_sub(fewer) / self.turns)
    }
}

/// Instructions of a whole process.
fn collected(program: &Path, arguments: &[&str]) -> io::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg("take")
        .args(arguments)
        .stdin(Stdio::null());
    let said = valgrind.output()?;
    let text = String::from_utf8_lossy(&said.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :"));
    match count.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if said.status.success() => Ok(count),
        _ => Err(io::Error::other(format!(
            "{arguments:?} ({}): {text}",
            said.status
        ))),
    }
}

/// Counts that are held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What compiled the program that they were counted of: another compiler makes other instructions.
    pub compiler: String,
    /// Instructions of a turn, by the name of the part.
    pub instructions: BTreeMap<String, u64>,
}

/// What is wrong with counts, beside those that are held.
#[derive(Clone, Debug, PartialEq)]
pub enum Complaint {
    /// More than so many times what is held.
    More(String, f64),
    /// So much less that more would not be noticed: a reason to hold the new count, and no failure.
    Less(String, f64),
    /// Not counted, or not in the table.
    Missing(String),
}

impl Table {
    /// What `counted` has that this table does not allow. `tolerance` is a share, such as 0.05.
    pub fn complaints(&self, counted: &Table, tolerance: f64) -> Vec<Complaint> {
        let mut all = Vec::new();
        for (name, held) in &self.instructions {
            let Some(count) = counted.instructions.get(name) else {
                all.push(Complaint::Missing(name.clone()));
                continue;
            };
            let ratio = *count as f64 / *held as f64;
            if ratio > 1.0 + tolerance {
                all.push(Complaint::More(name.clone(), ratio));
            } else if ratio < 1.0 - tolerance {
                all.push(Complaint::Less(name.clone(), ratio));
            }
        }
        let unknown = counted.instructions.keys();
        let unknown = unknown.filter(|name| !self.instructions.contains_key(*name));
        all.extend(unknown.map(|name| Complaint::Missing(name.clone())));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(counts: &[(&str, u64)]) -> Table {
        Table {
            compiler: String::new(),
            instructions: counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
        }
    }

    #[test]
    fn what_takes_more_than_is_held_is_complained_of() {
        let held = table(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000)]);
        let counted = table(&[("a", 1049), ("b", 1051), ("c", 900), ("e", 1)]);
        assert_eq!(
            held.complaints(&counted, 0.05),
            [
                Complaint::More("b".to_owned(), 1.051),
                Complaint::Less("c".to_owned(), 0.9),
                Complaint::Missing("d".to_owned()),
                Complaint::Missing("e".to_owned()),
            ]
        );
    }

    #[test]
    fn every_part_can_be_taken_and_is_in_the_table() {
        let held: Table = serde_json::from_str(include_str!("../instructions.json")).unwrap();
        for part in &PARTS {
            part.take(2).unwrap();
            assert!(held.instructions.contains_key(part.name), "{}", part.name);
        }
        assert_eq!(held.instructions.len(), PARTS.len());
    }
}
