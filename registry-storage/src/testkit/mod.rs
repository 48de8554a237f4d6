//! The promises of the seams, as tests.
//!
//! Each suite is a module with one function for each clause of its contract, named after the clause. A macro stamps
//! one `#[test]` per clause for an implementation:
//!
//! ```
//! use registry_storage::{kv_suite, memory::MemoryKv, testkit::Fixture};
//! use std::sync::Arc;
//!
//! kv_suite!(memory, || async { Fixture::new(Arc::new(MemoryKv::new())) });
//! ```
//!
//! The factory is called once for each test and gives a store of its own. For an implementation whose content
//! outlives it, the fixture says how to [open it again](Fixture::reopened_by), and the word `durable` before the
//! factory adds the clauses that need this. Those suites run on a tokio runtime of several threads, which is built
//! here, so that the tests need none of their own.

pub mod blob_store;
pub mod collection;
mod content;
mod counting;
pub mod disk;
mod interleaved;
pub mod kv;
pub mod manifest_store;
pub mod registry;
pub mod upload_store;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use registry_core::store::{BlobStore, UploadStore};

pub use content::{chunked, content, read_all};
pub use counting::{Asked, Counting};
pub use interleaved::Interleaved;

/// A store that takes bytes and gives them back: what the suites for bytes are run on.
pub trait ByteStore: BlobStore + UploadStore {}

impl<T: BlobStore + UploadStore> ByteStore for T {}

/// Gives a store again that was closed, with what was in it.
type Reopen<S> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Arc<S>> + Send>> + Send + Sync>;

/// A fresh store for one test, with whatever must live as long as it does.
pub struct Fixture<S: ?Sized> {
    /// The store.
    pub store: Arc<S>,
    reopen: Option<Reopen<S>>,
    guard: Box<dyn Any + Send>,
}

impl<S: ?Sized> Fixture<S> {
    /// A store that nothing but itself keeps.
    pub fn new(store: Arc<S>) -> Self {
        Fixture {
            store,
            reopen: None,
            guard: Box::new(()),
        }
    }

    /// Keeps `guard`, a directory perhaps, for as long as the store is used.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl Any + Send) -> Self {
        self.guard = Box::new(guard);
        self
    }

    /// Says how to open the store again after it was dropped.
    #[must_use]
    pub fn reopened_by<F>(mut self, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<S>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(open())));
        self
    }

    /// Closes the store, as a process that ends would, and opens it again.
    ///
    /// # Panics
    /// If the fixture does not say how, or a clause still holds the store.
    pub async fn reopen(self) -> Self {
        let Fixture { store, reopen, guard } = self;
        let reopen = reopen.expect("a durable store's fixture says how to open it again");
        assert_eq!(Arc::strong_count(&store), 1, "somebody still uses the store");
        drop(store);
        Fixture {
            store: reopen().await,
            reopen: Some(reopen),
            guard,
        }
    }
}

/// Runs one clause to its end, on threads of its own.
///
/// # Panics
/// If the clause does, or the system gives no threads.
pub fn block_on<F: Future>(clause: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("threads for a test")
        .block_on(clause)
}

/// Stamps one test for each named clause of a suite. The suites' own macros name the clauses.
#[doc(hidden)]
#[macro_export]
macro_rules! stamp_clauses {
    ($suite:path, $name:ident, $factory:expr, [$($clause:ident),* $(,)?]) => {
        mod $name {
            #[allow(unused_imports, reason = "the factory may need nothing from around it")]
            use super::*;
            #[allow(unused_imports, reason = "a suite without clauses stamps no test")]
            use $suite as suite;

            $(
                #[test]
                fn $clause() {
                    $crate::testkit::block_on(async {
                        let fixture = ($factory)().await;
                        suite::$clause(fixture).await;
                    });
                }
            )*
        }
    };
}

/// Every clause of a suite's source is named twice: where it is written and where it is stamped.
#[cfg(test)]
fn assert_every_clause_is_stamped(source: &str) {
    let names = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn "))
        .filter_map(|rest| rest.split('(').next());
    let mut clauses = 0;
    for name in names {
        clauses += 1;
        let stamped = source.lines().any(|line| line.trim() == format!("{name},"));
        assert!(stamped, "{name} is stamped by no macro");
    }
    assert!(clauses > 2, "the suite was not found");
}
