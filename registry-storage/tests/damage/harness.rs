//! A registry on the default stores, whose files a test can damage behind its back while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{Kv, KvError, Lifetimes, Reclaim, Txn};
use registry_core::{
    BlobRead, Context, Digest, ErrorKind, LocalRegistry, Manifest, MountFrom, Options, PutManifest,
    Reference, Registry, RepositoryName, Result, Runtime, Tag, Timestamp, Verify, once,
};
use registry_storage::records::Records;

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// Threads whose randomness counts up, so that one in so many is exactly that.
pub(crate) struct Counting(AtomicU64);

impl Counting {
    pub(crate) fn shared() -> Arc<dyn Runtime> {
        Arc::new(Counting(AtomicU64::new(1)))
    }
}

impl Runtime for Counting {
    fn now(&self) -> Timestamp {
        Threads.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Threads.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Threads.spawn_blocking(work);
    }

    fn random(&self) -> u128 {
        self.0.fetch_add(1, Ordering::SeqCst).into()
    }
}

pub(crate) struct House {
    pub(crate) registry: LocalRegistry,
    pub(crate) records: Records,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) reader: Context,
    pub(crate) pusher: Context,
}

pub(crate) fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn tag(tag: &str) -> Reference {
    Reference::Tag(tag.parse::<Tag>().unwrap())
}

/// An image of one blob.
pub(crate) fn image(content: &[u8], rest: &str) -> String {
    let (digest, size) = (Digest::sha256(content), content.len());
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{digest}","size":{size}}},"layers":[]{rest}}}"#
    )
}

/// With the media type inside, so that the bytes say what they are.
pub(crate) fn self_named() -> String {
    format!(r#","mediaType":"{OCI}""#)
}

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Damage {
    Flipped,
    Zeroed,
    Truncated,
    Gone,
}

impl House {
    pub(crate) fn new(verify: Verify, inline_max: usize) -> House {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Counting::shared();
        let stores = registry_storage::open(directory.path(), runtime.clone()).unwrap();
        let (kv, bytes): (Arc<dyn Kv>, _) = (Arc::new(stores.kv), Arc::new(stores.bytes));
        let records = Records::new(kv.clone(), runtime.clone(), Lifetimes::default());
        // Read anew each time, since it is damaged in between.
        let options = Options {
            inline_max,
            verify,
            cache: 0,
        };
        House {
            registry: LocalRegistry::new(Arc::new(records.clone()), bytes.clone(), bytes, runtime, options),
            records,
            kv,
            directory,
            reader: Context {
                may_push: false,
                ..Context::request(Identity::Anonymous, "reader")
            },
            pusher: Context {
                may_push: true,
                ..Context::request(Identity::Anonymous, "pusher")
            },
        }
    }

    /// Pushes a blob as clients do: if the registry says that it has it already, not at all. Whether bytes were sent.
    pub(crate) async fn push(&self, repository: &str, content: &[u8]) -> bool {
        let (ctx, name, digest) = (&self.pusher, name(repository), Digest::sha256(content));
        match self.registry.stat_blob(ctx, &name, &digest).await {
            Ok(_) => return false,
            Err(why) => assert!(
                matches!(why.kind(), ErrorKind::BlobUnknown | ErrorKind::NameUnknown),
                "{why:?}"
            ),
        }
        let upload = self.registry.begin_upload(ctx, &name, None).await.unwrap();
        self.registry
            .finish_upload(ctx, &name, &upload.id, None, once(content.to_vec()), &digest)
            .await
            .unwrap();
        true
    }

    pub(crate) async fn put(&self, repository: &str, tag: &str, manifest: &str) -> Result<Digest> {
        let put = PutManifest::tagged(tag.parse().unwrap(), OCI, manifest.to_owned());
        let outcome = self
            .registry
            .put_manifest(&self.pusher, &name(repository), put)
            .await?;
        Ok(outcome.digest)
    }

    pub(crate) async fn pull(&self, repository: &str, reference: &Reference) -> Result<Manifest> {
        self.registry
            .get_manifest(&self.reader, &name(repository), reference)
            .await
    }

    /// What is said of a manifest without its bytes.
    pub(crate) async fn head(&self, repository: &str, reference: &Reference) -> Result<Digest> {
        let found = self
            .registry
            .stat_manifest(&self.reader, &name(repository), reference)
            .await;
        found.map(|info| info.digest)
    }

    pub(crate) async fn read(&self, repository: &str, content: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        self.read_part(repository, &Digest::sha256(content), None).await
    }

    pub(crate) async fn read_part(
        &self,
        repository: &str,
        digest: &Digest,
        range: Option<registry_core::ByteRange>,
    ) -> Result<Vec<u8>, ErrorKind> {
        let blob = self
            .registry
            .read_blob(&self.reader, &name(repository), digest, range)
            .await
            .map_err(|why| why.kind())?;
        Ok(match blob.read {
            BlobRead::Bytes(bytes) => bytes.to_vec(),
            BlobRead::File(file, range) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                std::os::unix::fs::FileExt::read_exact_at(&**file, &mut bytes, range.start).unwrap();
                bytes
            }
            other => panic!("{other:?}"),
        })
    }

    pub(crate) async fn pusher_finds(&self, repository: &str, content: &[u8]) -> Result<u64, ErrorKind> {
        self.registry
            .stat_blob(&self.pusher, &name(repository), &Digest::sha256(content))
            .await
            .map(|info| info.size)
            .map_err(|why| why.kind())
    }

    pub(crate) async fn mounts(&self, to: &str, from: &str, content: &[u8]) -> bool {
        self.registry
            .mount_blob(
                &self.pusher,
                &name(to),
                &Digest::sha256(content),
                &MountFrom::Repository(name(from)),
            )
            .await
            .unwrap()
            .is_some()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let all = self.kv.scan("", None, usize::MAX).await.unwrap();
        all.into_iter().map(|(key, _)| key).collect()
    }

    /// Locations that are doomed, due or not.
    pub(crate) async fn doomed(&self) -> usize {
        self.records.doomed(None, 100).await.unwrap();
        self.kv.scan("doomed/", None, 100).await.unwrap().len()
    }

    /// Damages the file that holds exactly these bytes.
    pub(crate) fn damage_file(&self, content: &[u8], damage: Damage) {
        let path = files(self.directory.path())
            .into_iter()
            .find(|path| fs::read(path).unwrap() == content)
            .expect("a file with this content");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut bytes = content.to_vec();
        match damage {
            Damage::Flipped => bytes[content.len() / 2] ^= 1,
            Damage::Zeroed => bytes.fill(0),
            Damage::Truncated => bytes.truncate(content.len() / 2),
            Damage::Gone => return fs::remove_file(&path).unwrap(),
        }
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    }

    /// Flips bits of a byte of every place in the records' file at which `pattern` stands, `at` bytes behind its beginning.
    fn flip(&self, pattern: &[u8], at: usize, bits: u8, is_it: impl Fn(&[u8]) -> bool) {
        use std::os::unix::fs::FileExt as _;
        let path = self.directory.path().join("records/data.mdb");
        let content = fs::read(&path).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let mut flipped = 0;
        for (start, window) in content.windows(pattern.len()).enumerate() {
            if window == pattern && is_it(&content[start + pattern.len()..]) {
                file.write_at(&[content[start + at] ^ bits], (start + at) as u64)
                    .unwrap();
                flipped += 1;
            }
        }
        assert!(flipped > 0, "{} is nowhere", pattern.escape_ascii());
    }

    /// Flips bits of one byte of a record's key.
    pub(crate) fn damage_key(&self, key: &str, at: usize, bits: u8) {
        self.flip(key.as_bytes(), at, bits, |_| true);
    }

    /// The keys of all records that can be read, whatever else there is.
    pub(crate) async fn all_keys(&self) -> Vec<String> {
        let all = match self.kv.scan("", None, usize::MAX).await {
            Ok(page) | Err(KvError::Damaged { page, .. }) => page,
            Err(other) => panic!("{other}"),
        };
        all.into_iter().map(|(key, _)| key).collect()
    }

    /// The key of a table's one record.
    pub(crate) async fn only_key(&self, table: &str) -> String {
        let keys = self.keys_of(table).await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys.into_iter().next().unwrap()
    }

    pub(crate) async fn keys_of(&self, table: &str) -> Vec<String> {
        let found = self.kv.scan(table, None, usize::MAX).await.unwrap();
        found.into_iter().map(|(key, _)| key).collect()
    }

    /// Takes all leases away, as time does.
    pub(crate) async fn end_leases(&self) {
        let ended = self
            .keys_of("lease/")
            .await
            .into_iter()
            .fold(Txn::new(), Txn::delete);
        self.kv.commit(ended).await.unwrap();
    }

    /// Damages the record under a key whose value is a JSON document.
    pub(crate) fn damage_record(&self, key: &str) {
        // Checksum and stamp stand between the key and the value.
        const HEAD: usize = 12;
        self.flip(key.as_bytes(), key.len() + HEAD + 2, 1, |rest| {
            rest.len() > HEAD && (rest[HEAD..].starts_with(b"{\"") || rest[HEAD..].starts_with(b"["))
        });
    }

    /// Damages values that contain `bytes`.
    pub(crate) fn damage_value(&self, bytes: &[u8]) {
        self.flip(bytes, bytes.len() / 2, 1, |_| true);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
