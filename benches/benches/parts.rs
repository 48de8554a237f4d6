//! What parts of a request take on the clock: `cargo bench -p benches`. In tests each is run once.
#![forbid(unsafe_code)]

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use http::{HeaderMap, Method, Uri};
use registry_core::Digest;
use registry_core::http::Operation;
use registry_core::manifest::ParsedManifest;
use registry_core::store::{Kv, Txn};
use server_hyper::TokioRuntime;
use tokio::task::JoinSet;

use benches::load::content::{Blobs, MANIFEST, manifest};

fn main() {
    divan::main();
}

/// Hashing, with the processor's instructions.
#[divan::bench(args = [1 << 10, 64 << 10, 1 << 20])]
fn sha256(bencher: Bencher<'_, '_>, length: usize) {
    let bytes = vec![7; length];
    bencher
        .counter(BytesCount::new(length))
        .bench(|| Digest::sha256(black_box(&bytes)));
}

#[divan::bench]
fn digest_parse(bencher: Bencher<'_, '_>) {
    let text = Digest::sha256(b"some").to_string();
    bencher.bench(|| black_box(&text).parse::<Digest>());
}

#[divan::bench]
fn digest_format(bencher: Bencher<'_, '_>) {
    let digest = Digest::sha256(b"some");
    bencher.bench(|| black_box(&digest).to_string());
}

/// An image's manifest of so many layers.
#[divan::bench(args = [1, 8, 64])]
fn manifest_parse(bencher: Bencher<'_, '_>, layers: u64) {
    let blobs = Blobs::new(64, 1);
    let of: Vec<_> = (1..=layers).map(|number| blobs.get(number)).collect();
    let text = manifest(&blobs.get(0), &of);
    bencher.bench(|| ParsedManifest::parse(Some(MANIFEST), black_box(text.as_bytes())));
}

#[divan::bench(args = ["manifests/latest", "blobs/sha256:", "tags/list?n=100&last=v1"])]
fn operation_parse(bencher: Bencher<'_, '_>, below: &str) {
    let hex = match below.ends_with(':') {
        true => Digest::sha256(b"some").hex(),
        false => String::new(),
    };
    let uri: Uri = format!("/v2/library/alpine/{below}{hex}")
        .parse()
        .expect("it is a path");
    let headers = HeaderMap::new();
    bencher.bench(|| Operation::parse(black_box(&Method::GET), black_box(&uri), &headers));
}

/// Durable transactions of so many writers at once, on the default engine: they share its syncs.
#[divan::bench(args = [1, 32], sample_size = 1, sample_count = 200)]
fn commits(bencher: Bencher<'_, '_>, writers: usize) {
    let directory = tempfile::tempdir().expect("there is room");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let store = runtime.block_on(async { registry_storage::open(directory.path(), TokioRuntime::shared()) });
    let kv: Arc<dyn Kv> = Arc::new(store.expect("a new store opens").kv);
    let value = Bytes::from(vec![7; 1 << 10]);
    bencher
        .counter(divan::counter::ItemsCount::new(writers))
        .bench_local(|| {
            runtime.block_on(async {
                let mut all = JoinSet::new();
                for writer in 0..writers {
                    let (kv, value) = (kv.clone(), value.clone());
                    all.spawn(async move { kv.commit(Txn::new().put(format!("a/{writer}"), value)).await });
                }
                while let Some(ended) = all.join_next().await {
                    ended.expect("no writer panics").expect("a commit is made");
                }
            });
        });
}
