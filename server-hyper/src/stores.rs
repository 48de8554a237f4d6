//! The stores behind a registry, put together.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use registry_auth::tokens::{KeyOptions, Keys};
use registry_core::store::{BlobStore, Kv, Lifetimes, Txn, Undo, UploadStore};
use registry_core::{LocalRegistry, Options, Registry};
use registry_gc::{Collector, Hold, ScrubOptions, Scrubber, Settings};
use registry_storage::Durability;
use registry_storage::backup::{DumpError, Dumped};
use registry_storage::fs::FsBytes;
use registry_storage::kv::{self, EmbeddedKv, EngineKind, OpenError};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::records::check::{self, Report};

use crate::runtime::TokioRuntime;

/// A registry and what keeps its stores in order.
#[derive(Clone)]
pub struct Stores {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// Gives back what nothing points at any more; to be [run](Collector::run) every now and then, or to
    /// [work](Collector::work) all the time.
    pub collector: Collector,
    /// The trash of its repositories, and the history of their tags.
    pub undo: Arc<dyn Undo>,
    /// The keys that sign tokens.
    pub keys: Arc<Keys>,
    alone: bool,
    /// What reads them again, if this process does.
    scrubber: Arc<OnceLock<Scrubber>>,
    records: Arc<Records>,
    blobs: Arc<dyn BlobStore>,
    kv: Arc<dyn Kv>,
    /// The same, where it can be dumped.
    embedded: Option<Arc<EmbeddedKv>>,
}

/// The records as they are at one moment, with every blob that they name held for as long as this lives.
#[derive(Debug)]
pub struct Snapshot {
    kv: Arc<EmbeddedKv>,
    _hold: Hold,
}

impl Snapshot {
    /// Writes the records as they are when this begins. Blocks.
    ///
    /// # Errors
    /// [`DumpError`].
    pub fn dump(&self, out: impl std::io::Write) -> Result<Dumped, DumpError> {
        self.kv.dump(out)
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

/// How stores in a directory are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOptions {
    /// How long things are kept that nothing points at.
    pub lifetimes: Lifetimes,
    /// What keeps the records.
    pub engine: EngineKind,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// How the registry behaves.
    pub registry: Options,
    /// Whether records of an older format are refused, instead of being brought to the one that this version writes.
    pub keep_format: bool,
}

impl StoreOptions {
    /// How the records are kept, and the bytes with them.
    pub fn records(&self) -> kv::Options {
        kv::Options {
            engine: self.engine,
            durability: self.durability,
            keep_format: self.keep_format,
            ..kv::Options::default()
        }
    }
}

impl Stores {
    /// In this process's memory, gone with it.
    pub fn memory(lifetimes: Lifetimes) -> Self {
        let (kv, bytes) = (Arc::new(MemoryKv::new()), Arc::new(MemoryBytes::new()));
        Self::on(kv, bytes, lifetimes, Options::default())
    }

    /// In a directory, which is created if it is not there. One process at a time may have it open.
    ///
    /// # Errors
    /// All of [`OpenError`].
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let embedded = registry_storage::open_with(directory, TokioRuntime::shared(), options.records())?;
        let (kv, bytes) = (Arc::new(embedded.kv), Arc::new(embedded.bytes));
        Ok(Self::embedded(kv, bytes, options))
    }

    /// On stores that are open already.
    pub fn embedded(kv: Arc<EmbeddedKv>, bytes: Arc<FsBytes>, options: StoreOptions) -> Self {
        Stores {
            embedded: Some(Arc::clone(&kv)),
            ..Self::on(kv, bytes, options.lifetimes, options.registry)
        }
    }

    /// The same, with a collector that works like this.
    #[must_use]
    pub fn collecting(self, settings: Settings) -> Self {
        Stores {
            collector: self.collector.with(settings),
            ..self
        }
    }

    /// The same, with keys for tokens that are kept like this.
    #[must_use]
    pub fn signing(self, options: KeyOptions) -> Self {
        let keys = Keys::new(Arc::clone(&self.kv), TokioRuntime::shared(), options);
        Stores {
            keys: Arc::new(keys),
            ..self
        }
    }

    /// The records that all of it stands on, for what keeps records of its own beside it.
    pub fn kv(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    /// The same, in the knowledge that nobody else uses them: no server, and so no client who pushes or pulls.
    #[must_use]
    pub(crate) fn alone(self) -> Self {
        Stores { alone: true, ..self }
    }

    /// Whether nobody else uses them.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Holds all blobs, so that the records can be dumped and what they name be copied; `None` in memory.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let kv = Arc::clone(self.embedded.as_ref()?);
        Some(Snapshot {
            kv,
            _hold: self.collector.hold(),
        })
    }

    /// What reads all of it again; to be run, once. Later calls give the same one.
    pub fn scrubber(&self, options: ScrubOptions) -> Scrubber {
        let new = || {
            let (records, blobs) = (Arc::clone(&self.records), Arc::clone(&self.blobs));
            Scrubber::new(records, blobs, TokioRuntime::shared(), options)
        };
        self.scrubber.get_or_init(new).clone()
    }

    /// The scrubber, if there is one in this process.
    pub(crate) fn scrubs(&self) -> Option<&Scrubber> {
        self.scrubber.get()
    }

    /// What a scrub, whosever it is, has written down.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    fn on<B: BlobStore + UploadStore>(
        kv: Arc<dyn Kv>,
        bytes: Arc<B>,
        lifetimes: Lifetimes,
        options: Options,
    ) -> Self {
        let records = Arc::new(Records::new(Arc::clone(&kv), TokioRuntime::shared(), lifetimes));
        let blobs: Arc<dyn BlobStore> = Arc::clone(&bytes) as _;
        let collector = Collector::new(
            Arc::clone(&records) as _,
            Arc::clone(&blobs),
            TokioRuntime::shared(),
            Settings::default(),
        );
        let undo = Arc::clone(&records) as _;
        let keys = Keys::new(Arc::clone(&kv), TokioRuntime::shared(), KeyOptions::default());
        let registry = LocalRegistry::new(
            Arc::clone(&records) as _,
            Arc::clone(&blobs),
            bytes,
            TokioRuntime::shared(),
            options,
        );
        Stores {
            registry: Arc::new(registry),
            collector,
            undo,
            keys: Arc::new(keys),
            alone: false,
            scrubber: Arc::default(),
            records,
            blobs,
            kv,
            embedded: None,
        }
    }

    /// Whether records and blobs agree, also while they are used; see [`Records::check`].
    ///
    /// # Errors
    /// If they cannot be read at all.
    pub async fn check(
        &self,
        options: check::Options,
        tell: check::Tell<'_>,
    ) -> registry_core::Result<Report> {
        self.records.check(&*self.blobs, options, tell).await
    }

    /// Whether the records can be written, and what was written be read: a small commit, and its entry read back.
    ///
    /// # Errors
    /// What the records answer.
    pub async fn probe(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        const KEY: &str = "probe/server";
        let stamp = self.kv.commit(Txn::new().put(KEY, &b"1"[..])).await?;
        match self.kv.get(KEY).await? {
            // Another probe may have written since.
            Some(entry) if entry.stamp >= stamp => Ok(()),
            _ => Err("a committed record cannot be read".into()),
        }
    }
}

/// An empty registry in memory, open to anyone: for tests and examples.
pub fn memory_registry() -> Arc<dyn Registry> {
    Stores::memory(Lifetimes::default()).registry
}
