//! A registry on a port of its own whose clock and collector do what a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use registry_auth::StaticPolicy;
use registry_core::store::{
    BlobStore, Collected, Kv, Lifetimes, ManifestStore as _, Reclaim as _, UploadStore,
};
use registry_core::wrappers::Authorized;
use registry_core::{Digest, LocalRegistry, Options, Timestamp};
use registry_gc::{Collector, RunOptions, Settings, Stop};
use registry_storage::clock::ManualClock;
use registry_storage::kv;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use serde_json::{Value, json};
use server_hyper::{TestServer, TokioRuntime};
use tempfile::TempDir;

use crate::support::{Http1, http1, request, soon};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Where the registry keeps what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Embedded,
}

/// The registry, and what keeps it in order.
pub(crate) struct House {
    pub(crate) server: TestServer,
    pub(crate) records: Arc<Records>,
    pub(crate) bytes: Arc<dyn BlobStore>,
    pub(crate) collector: Collector,
    pub(crate) clock: ManualClock,
    pub(crate) lifetimes: Lifetimes,
    /// The length of the blobs that tests push.
    size: usize,
    blobs: AtomicU8,
    _directory: Option<TempDir>,
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A manifest that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) media_type: &'static str,
}

/// How far the collection of a blob has come that nothing points at any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Just pushed, or just let go: those who were told that it exists have their grace.
    Graced,
    /// The grace is over, and no collector has come yet.
    Lapsed,
    /// To be removed after the second delay.
    Condemned,
    /// The record is gone, and its location doomed.
    Removed,
    /// The location may be unlinked.
    Doomed,
    /// The location is unlinked, and the record that says so is still there: a crash came between.
    Unlinked,
    /// Nothing is left.
    Gone,
}

impl Stage {
    pub(crate) const ALL: [Stage; 7] = [
        Stage::Graced,
        Stage::Lapsed,
        Stage::Condemned,
        Stage::Removed,
        Stage::Doomed,
        Stage::Unlinked,
        Stage::Gone,
    ];
}

impl House {
    /// A registry with nothing in it, whose tests push blobs of `size` bytes.
    pub(crate) async fn new(store: Store, size: usize) -> Self {
        Self::with_trash(store, size, Duration::ZERO).await
    }

    /// The same, where what is deleted can be undeleted for so long.
    pub(crate) async fn with_trash(store: Store, size: usize, undo: Duration) -> Self {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        match store {
            Store::Memory => {
                let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
                Self::on(kv, Arc::new(MemoryBytes::new()), clock, (size, undo), None).await
            }
            Store::Embedded => {
                let directory = tempfile::tempdir().expect("a directory");
                let options = kv::Options {
                    clock: clock.clock(),
                    ..kv::Options::default()
                };
                let stores = registry_storage::open_with(directory.path(), TokioRuntime::shared(), options);
                let stores = stores.expect("an empty store");
                let (kv, bytes) = (Arc::new(stores.kv), Arc::new(stores.bytes));
                Self::on(kv, bytes, clock, (size, undo), Some(directory)).await
            }
        }
    }

    async fn on<B: BlobStore + UploadStore>(
        kv: Arc<dyn Kv>,
        bytes: Arc<B>,
        clock: ManualClock,
        (size, undo): (usize, Duration),
        directory: Option<TempDir>,
    ) -> Self {
        let lifetimes = Lifetimes {
            undo,
            ..Lifetimes::default()
        };
        let records = Arc::new(Records::new(kv, TokioRuntime::shared(), lifetimes));
        let local = LocalRegistry::new(
            Arc::clone(&records) as _,
            Arc::clone(&bytes) as _,
            Arc::clone(&bytes) as _,
            TokioRuntime::shared(),
            Options::default(),
        );
        let open = Authorized::around(Arc::new(local), StaticPolicy::open());
        let bytes: Arc<dyn BlobStore> = bytes;
        House {
            server: TestServer::serving(Arc::new(open))
                .await
                .expect("a port of loopback"),
            collector: Collector::new(
                Arc::clone(&records) as _,
                Arc::clone(&bytes),
                TokioRuntime::shared(),
                Settings {
                    rate: None,
                    ..Settings::default()
                },
            ),
            records,
            bytes,
            clock,
            lifetimes,
            size,
            blobs: AtomicU8::new(0),
            _directory: directory,
        }
    }

    /// Bytes that no other blob of this test has.
    pub(crate) fn content(&self) -> Bytes {
        vec![self.blobs.fetch_add(1, Ordering::SeqCst); self.size].into()
    }

    async fn client(&self) -> Http1 {
        http1(self.server.addr()).await
    }

    /// Sends a request, whose answer's body is still to be read.
    pub(crate) async fn begin(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        let mut request = request(method, path, body);
        if !media_type.is_empty() {
            request
                .headers_mut()
                .insert("content-type", media_type.parse().expect("a media type"));
        }
        soon(self.client().await.send_request(request))
            .await
            .expect("an answer")
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.begin(method, path, media_type, body).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            body: whole(response).await,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "", "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> u16 {
        self.ask(Method::DELETE, path, "", "").await.status
    }

    /// Pushes a blob in one request.
    pub(crate) async fn push_blob(&self, repository: &str, content: &Bytes) -> Digest {
        let digest = Digest::sha256(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self
            .ask(Method::POST, &path, "application/octet-stream", content.clone())
            .await;
        assert_eq!(answer.status, 201, "a push succeeds at any time: {answer:?}");
        digest
    }

    /// Mounts a blob; whether it was there to be mounted.
    pub(crate) async fn mount(&self, repository: &str, digest: &Digest, from: &str) -> bool {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        match self.ask(Method::POST, &path, "", "").await.status {
            201 => true,
            202 => false,
            status => panic!("a mount is answered {status}"),
        }
    }

    /// What HEAD says as to a pusher. A yes is held to: whoever asks then reads it.
    pub(crate) async fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        let path = blob(repository, digest);
        let said = self.ask(Method::HEAD, &path, "", "").await.status;
        match said {
            200 => {
                let read = self.get(&path).await;
                assert_eq!(read.status, 200, "HEAD said yes to what GET cannot read");
                assert_eq!(Digest::sha256(&read.body), *digest);
                true
            }
            404 => false,
            status => panic!("HEAD is answered {status}"),
        }
    }

    /// Makes a blob readable as a client does that skips what it is told is there.
    pub(crate) async fn ensure_blob(&self, repository: &str, content: &Bytes) -> Digest {
        let digest = Digest::sha256(content);
        if !self.has_blob(repository, &digest).await {
            self.push_blob(repository, content).await;
        }
        digest
    }

    pub(crate) async fn assert_readable(&self, repository: &str, content: &Bytes) {
        let read = self.get(&blob(repository, &Digest::sha256(content))).await;
        assert_eq!(
            read.status,
            200,
            "a blob must be readable: {:?}",
            read.body.get(..300)
        );
        assert!(
            read.body == *content,
            "a blob must have the bytes that were pushed"
        );
    }

    /// Puts a manifest; its status and body.
    pub(crate) async fn try_put(&self, repository: &str, reference: &str, manifest: &Made) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.ask(Method::PUT, &path, manifest.media_type, manifest.bytes.clone())
            .await
    }

    pub(crate) async fn put(&self, repository: &str, reference: &str, manifest: &Made) {
        let answer = self.try_put(repository, reference, manifest).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }

    /// Puts a manifest under its digest only.
    pub(crate) async fn put_untagged(&self, repository: &str, manifest: &Made) {
        self.put(repository, &manifest.digest.to_string(), manifest).await;
    }

    /// Pushes an image of these blobs, as jib does, under its digest.
    pub(crate) async fn push_image(&self, repository: &str, contents: &[&Bytes]) -> Made {
        for content in contents {
            self.ensure_blob(repository, content).await;
        }
        let made = image(contents, None);
        self.put_untagged(repository, &made).await;
        made
    }

    pub(crate) async fn delete_manifest(&self, repository: &str, manifest: &Made) -> u16 {
        self.delete(&format!("/v2/{repository}/manifests/{}", manifest.digest))
            .await
    }

    pub(crate) async fn status(&self, repository: &str, reference: impl std::fmt::Display) -> u16 {
        self.get(&format!("/v2/{repository}/manifests/{reference}"))
            .await
            .status
    }

    /// Reads a manifest and everything that it needs.
    pub(crate) async fn assert_pulls(&self, repository: &str, reference: impl std::fmt::Display) {
        let mut next = vec![reference.to_string()];
        while let Some(reference) = next.pop() {
            let answer = self.get(&format!("/v2/{repository}/manifests/{reference}")).await;
            assert_eq!(
                answer.status, 200,
                "{repository}:{reference} pulls: {:?}",
                answer.body
            );
            let manifest: Value = serde_json::from_slice(&answer.body).expect("a manifest");
            for digest in digests(&manifest["manifests"]) {
                next.push(digest);
            }
            for digest in
                digests(&manifest["layers"]).chain(manifest["config"]["digest"].as_str().map(str::to_owned))
            {
                let read = self.get(&format!("/v2/{repository}/blobs/{digest}")).await;
                assert_eq!(read.status, 200, "{repository}:{reference} needs {digest}");
                assert_eq!(Digest::sha256(&read.body).to_string(), digest);
            }
        }
    }

    /// The digests of what is about a manifest.
    pub(crate) async fn referrers(&self, repository: &str, subject: &Made) -> Vec<String> {
        let answer = self
            .get(&format!("/v2/{repository}/referrers/{}", subject.digest))
            .await;
        assert_eq!(answer.status, 200);
        let list: Value = serde_json::from_slice(&answer.body).expect("an index");
        digests(&list["manifests"]).collect()
    }

    /// Whether the records know the blob.
    pub(crate) async fn is_recorded(&self, digest: &Digest) -> bool {
        self.records
            .blob_record(digest)
            .await
            .expect("a look at the records")
            .is_some()
    }

    /// Takes the step of the entry that is due first, if any is.
    pub(crate) async fn step(&self) -> Option<Collected> {
        let entry = self.records.due(None, 1).await.expect("the queue").pop()?;
        Some(self.records.collect(&entry).await.expect("a step"))
    }

    /// Does all that is due, as a collector does on its round.
    pub(crate) async fn collect(&self) {
        let run = self
            .collector
            .run(&RunOptions::default(), &Stop::new(), &mut |_| {})
            .await;
        assert_eq!(run.expect("a run of the collector").counts.failures, 0);
    }

    /// Lets a week go by, with a round of the collector every three hours.
    pub(crate) async fn collect_for_a_week(&self) {
        for _ in 0..7 * 8 {
            self.clock.advance(Duration::from_secs(3 * 3600));
            self.collect().await;
        }
    }

    /// Lets the collection of everything that nothing points at come this far, and no further.
    pub(crate) async fn bring_to(&self, stage: Stage) {
        let lifetimes = &self.lifetimes;
        if stage == Stage::Graced {
            return;
        }
        self.clock.advance(lifetimes.grace + lifetimes.bucket);
        if stage == Stage::Lapsed {
            return;
        }
        self.steps(Collected::Condemned).await;
        if stage == Stage::Condemned {
            return;
        }
        // Times are compared at commit, within a minute of being read.
        self.clock
            .advance(lifetimes.second_delay + Duration::from_secs(60));
        self.steps(Collected::Removed).await;
        if stage == Stage::Removed {
            return;
        }
        self.clock
            .advance(lifetimes.longest_read + Duration::from_secs(60));
        let doomed = self.records.doomed(None, 100).await.expect("the doomed");
        if stage == Stage::Doomed {
            return;
        }
        for entry in &doomed {
            self.bytes.unlink(&entry.location).await.expect("unlinked");
        }
        if stage == Stage::Unlinked {
            return;
        }
        for entry in &doomed {
            self.records.clear_doomed(entry).await.expect("cleared");
        }
    }

    /// Takes all steps that are due; the last thing that becomes of any blob must be this.
    async fn steps(&self, wanted: Collected) {
        let mut taken = Vec::new();
        while let Some(done) = self.step().await {
            taken.push(done);
        }
        assert!(taken.contains(&wanted), "{wanted:?} was not among {taken:?}");
    }
}

pub(crate) fn blob(repository: &str, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// The body of an answer.
pub(crate) async fn whole(response: http::Response<Incoming>) -> Bytes {
    let body = soon(response.into_body().collect()).await;
    body.expect("a body that is not cut off").to_bytes()
}

fn digests(descriptors: &Value) -> impl Iterator<Item = String> {
    let descriptors = descriptors.as_array().into_iter().flatten();
    let digests: Vec<String> = descriptors
        .filter_map(|descriptor| Some(descriptor["digest"].as_str()?.to_owned()))
        .collect();
    digests.into_iter()
}

fn described(media_type: &str, bytes: &Bytes) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(bytes).to_string(), "size": bytes.len() })
}

fn made(media_type: &'static str, mut value: Value, subject: Option<&Made>) -> Made {
    value["schemaVersion"] = json!(2);
    value["mediaType"] = json!(media_type);
    if let Some(subject) = subject {
        value["subject"] = described(subject.media_type, &subject.bytes);
        value["artifactType"] = json!("application/vnd.example.signature");
    }
    let bytes = Bytes::from(value.to_string());
    Made {
        digest: Digest::sha256(&bytes),
        bytes,
        media_type,
    }
}

/// An image whose config is the first of these blobs and whose layers are the others, perhaps about another manifest.
pub(crate) fn image(contents: &[&Bytes], subject: Option<&Made>) -> Made {
    let layers: Vec<Value> = contents[1..]
        .iter()
        .map(|content| described("application/vnd.oci.image.layer.v1.tar", content))
        .collect();
    let config = described("application/vnd.oci.image.config.v1+json", contents[0]);
    made(IMAGE, json!({ "config": config, "layers": layers }), subject)
}

/// An index of these manifests.
pub(crate) fn index(children: &[&Made]) -> Made {
    let manifests: Vec<Value> = children
        .iter()
        .map(|child| described(child.media_type, &child.bytes))
        .collect();
    made(INDEX, json!({ "manifests": manifests }), None)
}
