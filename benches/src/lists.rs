//! Pages of long lists beside pages of short ones: a page costs what it shows.

use std::io;
use std::path::Path;
use std::time::Instant;

use registry_core::Digest;
use registry_core::store::Kv;
use serde::Serialize;
use server_hyper::TokioRuntime;
use trials::server::{Berth, Client};

use crate::collection::store::Bulk;

/// Entries of a page.
const PAGE: usize = 100;

/// Requests of each list in a round.
const REQUESTS: usize = 1000;

/// Latencies of one list's pages, in milliseconds, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    /// What list.
    pub list: String,
    /// Entries that it has.
    pub entries: usize,
    /// Half of the pages took no longer.
    pub p50: f64,
    /// 99 of a hundred.
    pub p99: f64,
}

struct List {
    name: String,
    entries: usize,
    latencies: Vec<f64>,
}

impl List {
    /// The page after an entry somewhere in the list; neighbours are far apart.
    fn page(&self, number: usize) -> String {
        let at = number * 7919 % (self.entries - PAGE);
        match self.name.as_str() {
            "catalog" => format!("/v2/_catalog?n={PAGE}&last={}", repository(at)),
            tags => format!("/v2/{tags}/tags/list?n={PAGE}&last={}", tag(at)),
        }
    }
}

fn tag(number: usize) -> String {
    format!("v{number:08}")
}

fn repository(number: usize) -> String {
    format!("many/{number:08}")
}

/// The records of a repository with this id, and of so many tags that all point at the same manifest.
async fn tags(bulk: &mut Bulk<'_>, name: &str, id: &str, tags: usize) -> io::Result<()> {
    add_repository(bulk, name, id).await?;
    let digest = Digest::sha256(b"a manifest");
    for number in 0..tags {
        let record = format!(r#"{{"v":1,"digest":"{digest}","at":1}}"#);
        bulk.put(format!("tag/{id}/{}", tag(number)), record).await?;
    }
    Ok(())
}

async fn add_repository(bulk: &mut Bulk<'_>, name: &str, id: &str) -> io::Result<()> {
    let record = format!(r#"{{"v":1,"id":"{id}","created":1}}"#);
    bulk.put(format!("repository/{name}"), record).await?;
    let named = format!(r#"{{"v":1,"name":"{name}"}}"#);
    bulk.put(format!("named/{id}"), named).await
}

async fn fill(kv: &dyn Kv, many_tags: usize, few_tags: usize, repositories: usize) -> io::Result<()> {
    let mut bulk = Bulk::new(kv);
    for number in 0..repositories {
        add_repository(&mut bulk, &repository(number), &format!("{number:032x}")).await?;
    }
    tags(&mut bulk, "tags/few", &"e".repeat(32), few_tags).await?;
    tags(&mut bulk, "tags/many", &"f".repeat(32), many_tags).await?;
    bulk.flush().await
}

/// Measures pages of a list of `few` tags, of one of `many`, and of a catalogue of so many repositories, in turn.
///
/// # Errors
/// If the store cannot be filled, the server does not start, or a page has another status or too few entries.
pub fn measure(
    runtime: &tokio::runtime::Runtime,
    program: &Path,
    directory: &Path,
    [few, many, repositories]: [usize; 3],
    rounds: usize,
) -> io::Result<Vec<Latencies>> {
    let stores = registry_storage::open(directory, TokioRuntime::shared()).map_err(io::Error::other)?;
    runtime.block_on(fill(&stores.kv, many, few, repositories))?;
    drop(stores);
    let berth = Berth::start(program, directory)?;
    let mut client = Client::connect(berth.address)?;
    let mut lists =
        [("tags/few", few), ("tags/many", many), ("catalog", repositories)].map(|(name, entries)| List {
            name: name.to_owned(),
            entries,
            latencies: Vec::new(),
        });
    for round in 0..=rounds {
        for list in &mut lists {
            for number in 0..REQUESTS {
                let page = list.page(round * REQUESTS + number);
                let began = Instant::now();
                let reply = client.get("GET", &page)?.expect(200)?;
                let took = began.elapsed().as_secs_f64() * 1000.0;
                let commas = reply.body.iter().filter(|byte| **byte == b',').count();
                if commas + 1 < PAGE {
                    return Err(io::Error::other(format!("{page} has only {commas} entries")));
                }
                // The first round is to warm up.
                if round > 0 {
                    list.latencies.push(took);
                }
            }
        }
    }
    berth.stop()?;
    Ok(lists.into_iter().map(summed).collect())
}

fn summed(mut list: List) -> Latencies {
    list.latencies.sort_by(f64::total_cmp);
    let at = |share: f64| list.latencies[((list.latencies.len() - 1) as f64 * share) as usize];
    Latencies {
        p50: at(0.50),
        p99: at(0.99),
        list: list.name,
        entries: list.entries,
    }
}
