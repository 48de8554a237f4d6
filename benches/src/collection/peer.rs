//! The same content and the same deletes, collected by berth and by distribution's `registry garbage-collect`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use registry_core::auth::Identity;
use registry_core::store::{BlobStore, Lifetimes, Terms};
use registry_core::{
    Context, Digest, LocalRegistry, Options, PutManifest, Registry, RepositoryName, Timestamp, once,
};
use registry_gc::{Collector, RunOptions, Settings, Stop};
use registry_storage::Durability;
use registry_storage::clock::ManualClock;
use registry_storage::kv;
use registry_storage::records::Records;
use serde::Serialize;
use server_hyper::TokioRuntime;

use super::{failed, must};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Pushes at once, while berth's store is filled.
const PUSHERS: usize = 64;

/// How much there is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shape {
    /// Repositories.
    pub repositories: usize,
    /// Manifests of each.
    pub manifests: usize,
    /// Blobs of each manifest, which no other has: a config and layers.
    pub blobs: usize,
    /// Bytes of each blob.
    pub bytes: usize,
    /// One manifest in so many is deleted.
    pub one_in: usize,
}

impl Shape {
    fn deleted(&self) -> usize {
        self.images().filter(|image| image.goes).count()
    }

    fn images(&self) -> impl Iterator<Item = Image> + use<> {
        let shape = *self;
        (0..shape.repositories * shape.manifests).map(move |number| Image {
            shape,
            number,
            goes: number.is_multiple_of(shape.one_in),
        })
    }
}

/// An image that is pushed.
#[derive(Clone, Copy)]
struct Image {
    shape: Shape,
    number: usize,
    /// Whether it is deleted then.
    goes: bool,
}

impl Image {
    fn repository(&self) -> String {
        format!("group/r{:04}", self.number / self.shape.manifests)
    }

    fn tag(&self) -> String {
        format!("t{}", self.number % self.shape.manifests)
    }

    fn blobs(&self) -> Vec<(Digest, Vec<u8>)> {
        (0..self.shape.blobs)
            .map(|blob| {
                let mut bytes = format!("{} {blob} ", self.number).into_bytes();
                bytes.resize(self.shape.bytes.max(bytes.len()), b'.');
                (Digest::sha256(&bytes), bytes)
            })
            .collect()
    }

    fn manifest(&self, blobs: &[(Digest, Vec<u8>)]) -> String {
        let descriptor = |kind: &str, (digest, bytes): &(Digest, Vec<u8>)| {
            let size = bytes.len();
            format!(r#"{{"mediaType":"{kind}","size":{size},"digest":"{digest}"}}"#)
        };
        let layers: Vec<String> = blobs[1..].iter().map(|blob| descriptor(LAYER, blob)).collect();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, &blobs[0]),
            layers.join(",")
        )
    }
}

/// What a command took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Took {
    /// On the clock, in seconds.
    pub wall: f64,
    /// Of processors, in seconds, to a hundredth.
    pub cpu: f64,
}

/// Both.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// What there was.
    pub shape: Shape,
    /// Manifests that were deleted.
    pub deleted: usize,
    /// Blobs that both gave back.
    pub collected: usize,
    /// berth's one look at what all the pushes have queued, which is due once for each blob that is pushed.
    pub first_look: Took,
    /// berth's pass after the deletes.
    pub berth: Took,
    /// distribution's.
    pub distribution: Took,
    /// What distribution says it is.
    pub version: String,
}

impl Beside {
    /// How many times longer distribution takes.
    pub fn ratio(&self) -> f64 {
        self.distribution.wall / self.berth.wall
    }

    /// How many times more of processors it takes.
    pub fn cpu_ratio(&self) -> f64 {
        self.distribution.cpu / self.berth.cpu.max(0.01)
    }
}

/// Seconds of processors that this process has taken, or those of its children that have ended.
fn cpu(children: bool) -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    // Fields 14 to 17 of proc(5), counted behind the second; Linux tells them in hundredths of a second.
    let at = if children { 13 } else { 11 };
    match fields.get(at..at + 2) {
        Some([user, system]) => Ok((user + system) / 100.0),
        _ => Err(failed("/proc/self/stat is too short")),
    }
}

/// Fills both stores with the same content, deletes the same of it, and collects.
///
/// # Errors
/// If the other registry is not installed, a store cannot be filled, or either leaves garbage or takes more.
pub async fn measure(directory: &Path, program: &str, shape: Shape) -> io::Result<Beside> {
    let version = Command::new(program).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let collected = shape.deleted() * shape.blobs;
    let distribution = distribution(&directory.join("distribution"), program, shape)?;
    let (first_look, berth) = berth(&directory.join("berth"), shape).await?;
    Ok(Beside {
        shape,
        deleted: shape.deleted(),
        collected,
        first_look,
        berth,
        distribution,
        version,
    })
}

fn write(path: PathBuf, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, bytes)
}

/// Writes the files that distribution's registry keeps of these images, those that are deleted without the tag, and lets it
/// collect.
fn distribution(directory: &Path, program: &str, shape: Shape) -> io::Result<Took> {
    let root = directory.join("docker/registry/v2");
    let data = |digest: &Digest| {
        let text = digest.to_string();
        let hex = text.trim_start_matches("sha256:").to_owned();
        root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    };
    let mut kept = None;
    let mut gone = None;
    for image in shape.images() {
        let blobs = image.blobs();
        let manifest = image.manifest(&blobs);
        let digest = Digest::sha256(manifest.as_bytes());
        let repository = root.join("repositories").join(image.repository());
        let hex = |digest: &Digest| digest.to_string().trim_start_matches("sha256:").to_owned();
        for (digest, bytes) in &blobs {
            write(data(digest), bytes)?;
            let link = repository.join(format!("_layers/sha256/{}/link", hex(digest)));
            write(link, digest.to_string().as_bytes())?;
        }
        write(data(&digest), manifest.as_bytes())?;
        let link = digest.to_string();
        let revision = format!("_manifests/revisions/sha256/{}/link", hex(&digest));
        write(repository.join(revision), link.as_bytes())?;
        let tag = repository.join("_manifests/tags").join(image.tag());
        if image.goes {
            gone = Some(data(&blobs[0].0));
            // So that there is a directory of tags, as there was before the tag was deleted.
            fs::create_dir_all(repository.join("_manifests/tags"))?;
        } else {
            kept = Some(data(&blobs[0].0));
            write(tag.join("current/link"), link.as_bytes())?;
            write(
                tag.join(format!("index/sha256/{}/link", hex(&digest))),
                link.as_bytes(),
            )?;
        }
    }
    let config = directory.join("config.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n",
        directory.display()
    );
    fs::write(&config, text)?;
    let (began, before) = (Instant::now(), cpu(true)?);
    let status = Command::new(program)
        .args(["garbage-collect", "--delete-untagged"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let took = Took {
        wall: began.elapsed().as_secs_f64(),
        cpu: cpu(true)? - before,
    };
    must(status.success(), || {
        format!("{program} garbage-collect: {status}")
    })?;
    must(gone.is_none_or(|file| !file.exists()), || {
        format!("{program} left what was deleted")
    })?;
    must(kept.is_none_or(|file| file.exists()), || {
        format!("{program} took what was not deleted")
    })?;
    Ok(took)
}

/// Pushes the images to berth's registry, deletes some, and collects in the same way: with nobody else at the store, once the
/// grace is over, as fast as it goes.
async fn berth(directory: &Path, shape: Shape) -> io::Result<(Took, Took)> {
    let clock = ManualClock::at(Timestamp::system());
    let options = kv::Options {
        clock: clock.clock(),
        // Only while it is filled does this make a difference: records and unlinks are synced all the same.
        durability: Durability::Relaxed,
        ..kv::Options::default()
    };
    let runtime = TokioRuntime::shared();
    let stores = registry_storage::open_with(directory, runtime.clone(), options).map_err(failed)?;
    let lifetimes = Lifetimes {
        // The other has no undo.
        undo: Duration::ZERO,
        ..Lifetimes::default()
    };
    let records = Arc::new(Records::new(Arc::new(stores.kv), runtime.clone(), lifetimes));
    let bytes = Arc::new(stores.bytes);
    let registry = LocalRegistry::new(
        records.clone(),
        bytes.clone(),
        bytes.clone(),
        runtime.clone(),
        Options::default(),
    );
    stream::iter(shape.images().map(|image| push(&registry, image)))
        .buffer_unordered(PUSHERS)
        .try_collect::<Vec<()>>()
        .await?;

    let blobs: Arc<dyn BlobStore> = bytes;
    let settings = Settings {
        rate: None,
        ..Settings::default()
    };
    let collector = Collector::new(records, Arc::clone(&blobs), runtime, settings);
    let alone = RunOptions {
        terms: Terms {
            alone: true,
            ..Terms::default()
        },
    };
    let pass = async || {
        clock.advance(lifetimes.grace + 2 * lifetimes.bucket);
        let (began, before) = (Instant::now(), cpu(false)?);
        let run = collector.run(&alone, &Stop::new(), &mut |_| {}).await;
        let summary = run.map_err(failed)?;
        let took = Took {
            wall: began.elapsed().as_secs_f64(),
            cpu: cpu(false)? - before,
        };
        io::Result::Ok((took, summary.counts))
    };
    let (first_look, counts) = pass().await?;
    must(counts.unlinked == 0 && counts.removed == 0, || {
        format!("the first look took something: {counts:?}")
    })?;
    for image in shape.images().filter(|image| image.goes) {
        let (name, digest) = (
            name(&image)?,
            Digest::sha256(image.manifest(&image.blobs()).as_bytes()),
        );
        registry
            .delete_manifest(&caller(), &name, &digest)
            .await
            .map_err(failed)?;
    }
    let (took, counts) = pass().await?;
    let expected = (shape.deleted() * shape.blobs) as u64;
    must(counts.removed == expected && counts.failures == 0, || {
        format!("{expected} blobs were to go: {counts:?}")
    })?;
    Ok((first_look, took))
}

fn caller() -> Context {
    Context {
        may_push: true,
        ..Context::request(Identity::Anonymous, "bench")
    }
}

fn name(image: &Image) -> io::Result<RepositoryName> {
    image.repository().parse().map_err(failed)
}

async fn push(registry: &LocalRegistry, image: Image) -> io::Result<()> {
    let (ctx, name, blobs) = (caller(), name(&image)?, image.blobs());
    let manifest = image.manifest(&blobs);
    for (digest, bytes) in blobs {
        let upload = registry.begin_upload(&ctx, &name, None).await.map_err(failed)?;
        registry
            .finish_upload(&ctx, &name, &upload.id, None, once(bytes), &digest)
            .await
            .map_err(failed)?;
    }
    let put = PutManifest::tagged(image.tag().parse().map_err(failed)?, MANIFEST, manifest);
    registry.put_manifest(&ctx, &name, put).await.map_err(failed)?;
    Ok(())
}
