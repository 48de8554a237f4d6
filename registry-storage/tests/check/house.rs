//! A registry in a directory, with some of everything in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{Kv, Lifetimes, Txn};
use registry_core::{
    BlobInfo, Children, Context, Digest, LocalRegistry, Options, PutManifest, Reference, Registry,
    RepositoryName, once,
};
use registry_storage::fs::FsBytes;
use registry_storage::kv::EmbeddedKv;
use registry_storage::records::Records;
use registry_storage::records::check::{self, Finding, FindingKind, Report, Told};
use registry_storage::testkit;

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Larger than what goes inside the records.
pub(crate) const LAYER: &[u8] = &[7; 40_000];
pub(crate) const CONFIG: &[u8] = b"a small config";

pub(crate) struct House {
    pub(crate) directory: PathBuf,
    pub(crate) kv: Arc<EmbeddedKv>,
    pub(crate) bytes: Arc<FsBytes>,
    pub(crate) records: Records,
    pub(crate) registry: LocalRegistry,
    pub(crate) ctx: Context,
}

pub(crate) fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn open(directory: &Path) -> House {
    let stores = registry_storage::open(directory, Threads::shared()).unwrap();
    let (kv, bytes) = (Arc::new(stores.kv), Arc::new(stores.bytes));
    let records = Records::new(kv.clone(), Threads::shared(), Lifetimes::default());
    let registry = LocalRegistry::new(
        Arc::new(records.clone()),
        bytes.clone(),
        bytes.clone(),
        Threads::shared(),
        Options::default(),
    );
    House {
        directory: directory.to_owned(),
        kv,
        bytes,
        records,
        registry,
        ctx: Context::request(Identity::Anonymous, "test"),
    }
}

pub(crate) fn image(layer: &[u8], extra: &str) -> String {
    let descriptor = |content: &[u8]| {
        let (digest, size) = (Digest::sha256(content), content.len());
        format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":{size}}}"#)
    };
    let (config, layer) = (descriptor(CONFIG), descriptor(layer));
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
}

pub(crate) fn index(child: &str) -> String {
    let (digest, size) = (Digest::sha256(child.as_bytes()), child.len());
    format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI}","digest":"{digest}","size":{size}}}]}}"#
    )
}

impl House {
    pub(crate) async fn push(&self, repository: &str, content: &[u8]) -> BlobInfo {
        let (name, digest) = (name(repository), Digest::sha256(content));
        let upload = self.registry.begin_upload(&self.ctx, &name, None).await.unwrap();
        self.registry
            .finish_upload(
                &self.ctx,
                &name,
                &upload.id,
                None,
                once(content.to_vec()),
                &digest,
            )
            .await
            .unwrap()
    }

    pub(crate) async fn put(&self, repository: &str, put: PutManifest) -> Digest {
        let put = self
            .registry
            .put_manifest(&self.ctx, &name(repository), put)
            .await;
        put.unwrap().digest
    }

    pub(crate) async fn tag(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        manifest: String,
    ) -> Digest {
        self.put(
            repository,
            PutManifest::tagged(tag.parse().unwrap(), media_type, manifest),
        )
        .await
    }

    /// Some of everything that a registry comes to hold.
    pub(crate) async fn fill(&self) {
        self.push("a/app", LAYER).await;
        self.push("a/app", CONFIG).await;
        let whole = image(LAYER, "");
        self.tag("a/app", "v1", OCI, whole.clone()).await;
        self.tag("a/app", "index", INDEX, index(&whole)).await;
        let subject = format!(
            r#","subject":{{"mediaType":"{OCI}","digest":"{}","size":{}}}"#,
            Digest::sha256(whole.as_bytes()),
            whole.len()
        );
        self.put("a/app", PutManifest::untagged(OCI, image(LAYER, &subject)))
            .await;
        // An index before its child, a blob that nothing needs, a manifest that went, a tag that moved.
        let mut early = PutManifest::tagged("early".parse().unwrap(), INDEX, index("not here"));
        early.options.children = Children::Deferred;
        self.put("a/proxy", early).await;
        let mut early = PutManifest::tagged("image".parse().unwrap(), OCI, image(b"not here either", ""));
        early.options.children = Children::Deferred;
        self.put("a/proxy", early).await;
        self.push("a/app", &[1; 20_000]).await;
        self.push("b/gone", LAYER).await;
        self.push("b/gone", CONFIG).await;
        let gone = self
            .tag("b/gone", "x", OCI, image(LAYER, r#","annotations":{"a":"b"}"#))
            .await;
        self.tag("b/gone", "x", OCI, whole.clone()).await;
        self.registry
            .delete_manifest(&self.ctx, &name("b/gone"), &gone)
            .await
            .unwrap();
        // A repository that was deleted and is not cleaned up yet; an upload that goes on, and one that was given up.
        self.push("c/dropped", CONFIG).await;
        self.push("c/dropped", LAYER).await;
        self.tag("c/dropped", "v1", OCI, whole).await;
        self.registry
            .delete_repository(&self.ctx, &name("c/dropped"))
            .await
            .unwrap();
        for end in [false, true] {
            let (ctx, name) = (&self.ctx, name("a/app"));
            let upload = self.registry.begin_upload(ctx, &name, None).await.unwrap();
            self.registry
                .append_upload(ctx, &name, &upload.id, Some(0), once(vec![3; 30_000]))
                .await
                .unwrap();
            if end {
                self.registry.cancel_upload(ctx, &name, &upload.id).await.unwrap();
            }
        }
    }

    pub(crate) async fn check(&self, deep: bool) -> (Vec<Finding>, Report) {
        let options = check::Options {
            deep,
            ..check::Options::default()
        };
        self.check_as(options).await
    }

    pub(crate) async fn check_as(&self, options: check::Options) -> (Vec<Finding>, Report) {
        let mut findings = Vec::new();
        let report = self
            .records
            .check(&*self.bytes, options, &mut |told| {
                if let Told::Found(finding) = told {
                    findings.push(finding.clone());
                }
            })
            .await
            .unwrap();
        assert_eq!(report.findings, findings.len() as u64);
        assert_eq!(report.unsettled, 0);
        (findings, report)
    }

    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let found = self.kv.scan(prefix, None, 1000).await.unwrap();
        found.into_iter().map(|(key, _)| key).collect()
    }

    /// The first key under a prefix.
    pub(crate) async fn key(&self, prefix: &str) -> String {
        self.keys(prefix).await.into_iter().next().expect(prefix)
    }

    pub(crate) async fn value(&self, key: &str) -> String {
        String::from_utf8(self.kv.get(key).await.unwrap().expect(key).value.to_vec()).unwrap()
    }

    pub(crate) async fn set(&self, key: &str, value: impl Into<Vec<u8>>) {
        self.kv.commit(Txn::new().put(key, value.into())).await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        assert!(self.kv.get(key).await.unwrap().is_some(), "{key}");
        self.kv.commit(Txn::new().delete(key)).await.unwrap();
    }

    pub(crate) async fn value_bytes(&self, key: &str) -> Vec<u8> {
        self.kv.get(key).await.unwrap().expect(key).value.to_vec()
    }

    /// A manifest as clients get it.
    pub(crate) async fn pull(&self, repository: &str, reference: &str) -> Vec<u8> {
        let reference = match reference.parse() {
            Ok(digest) => Reference::Digest(digest),
            Err(_) => Reference::Tag(reference.parse().unwrap()),
        };
        let name = name(repository);
        let pulled = self.registry.get_manifest(&self.ctx, &name, &reference).await;
        pulled.unwrap().bytes.to_vec()
    }

    /// A blob as clients get it.
    pub(crate) async fn pull_blob(&self, repository: &str, digest: &Digest) -> Vec<u8> {
        let blob = self
            .registry
            .read_blob(&self.ctx, &name(repository), digest, None)
            .await
            .unwrap();
        testkit::read_all(blob.read).await.unwrap().to_vec()
    }

    /// Changes a part of a record.
    pub(crate) async fn replace(&self, key: &str, from: &str, to: &str) {
        let before = self.value(key).await;
        let after = before.replacen(from, to, 1);
        assert_ne!(before, after);
        self.set(key, after).await;
    }

    pub(crate) async fn id(&self, repository: &str) -> String {
        let record: serde_json::Value =
            serde_json::from_str(&self.value(&format!("repository/{repository}")).await).unwrap();
        record["id"].as_str().unwrap().to_owned()
    }

    /// Makes every file of blobs as old as anything that nobody writes any more.
    pub(crate) fn age(&self) {
        for directory in fs::read_dir(self.directory.join("blobs")).unwrap() {
            let directory = directory.unwrap().path();
            if directory.is_dir() {
                for file in fs::read_dir(directory).unwrap() {
                    age(&file.unwrap().path());
                }
            }
        }
    }

    /// A file that nothing names.
    pub(crate) fn orphan(&self, name: &str, content: &[u8]) -> PathBuf {
        let directory = self.directory.join("blobs").join(&name[..2]);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), content).unwrap();
        directory.join(name)
    }

    /// What has been given to the collector to unlink.
    pub(crate) async fn is_doomed(&self, name: &str) -> bool {
        self.keys("doomed/").await.iter().any(|key| key.ends_with(name))
    }

    /// The file of a blob.
    pub(crate) async fn file(&self, digest: &Digest) -> PathBuf {
        let record: serde_json::Value =
            serde_json::from_str(&self.value(&format!("blob/{digest}")).await).unwrap();
        self.directory
            .join("blobs")
            .join(record["location"]["file"].as_str().unwrap())
    }
}

/// Changes a byte of what the engine's file holds of a record, in all versions of it that are there; `at` counts from its
/// key's first byte.
fn flip(directory: &Path, key: &str, at: usize, bits: u8, is_there: impl Fn(&[u8], usize) -> bool) {
    let path = directory.join("records/data.mdb");
    let mut file = fs::read(&path).unwrap();
    let needle = [b"\x01", key.as_bytes()].concat();
    let places: Vec<usize> = (0..file.len() - needle.len())
        .filter(|at| file[*at..].starts_with(&needle) && is_there(&file, *at))
        .collect();
    assert!(!places.is_empty(), "{key}");
    for place in places {
        file[place + 1 + at] ^= bits;
    }
    fs::write(&path, file).unwrap();
}

/// Flips a bit in the value of a record of a store that is closed.
pub(crate) fn flip_value(directory: &Path, key: &str) {
    // Behind the key: the checksum, the stamp, then the value.
    flip(directory, key, key.len() + 13, 4, is_in_leaf);
}

/// Flips bits in the key of a record of a store that is closed.
pub(crate) fn flip_key(directory: &Path, key: &str, at: usize, bits: u8) {
    flip(directory, key, at, bits, is_in_leaf);
}

/// Whether a place of LMDB's file is in a page of records. In a page that leads to others a key has no value behind
/// it but the next entry, and LMDB follows what that says wherever it leads.
fn is_in_leaf(file: &[u8], at: usize) -> bool {
    const PAGE: usize = 4096;
    const LEAF: u8 = 2;
    // The flags are behind the page's number and a field of two bytes; then come the ends of the room that is free, in which
    // there may be what is left of older records, and behind which a byte may be of another one.
    let page = at / PAGE * PAGE;
    let upper = usize::from(u16::from_le_bytes([file[page + 14], file[page + 15]]));
    file[page + 10] & LEAF != 0 && at - page >= upper
}

/// Makes a file as old as anything that nobody writes any more.
pub(crate) fn age(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(10 * 24 * 3600);
    File::open(path).unwrap().set_modified(long_ago).unwrap();
}

#[track_caller]
pub(crate) fn assert_found(findings: &[Finding], kind: FindingKind, naming: &str) {
    let found = findings.iter().any(|finding| {
        finding.kind == kind && (finding.message.contains(naming) || finding.key.contains(naming))
    });
    assert!(found, "no {kind} that names {naming:?} among {findings:#?}");
}
