//! The registry's contract, over each kind of store and behind each wrapper.

use std::sync::Arc;

use async_trait::async_trait;
use registry_core::auth::{Access, Authorizer, Decision, Identity, Visible};
use registry_core::runtime::Threads;
use registry_core::store::{Kv, Lifetimes};
use registry_core::wrappers::{Authorized, Prefix, Select};
use registry_core::{LocalRegistry, Options, Registry, RepositoryName, Result};
use registry_storage::kv::{self, EngineKind};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::{Fixture, Interleaved};

fn memory() -> LocalRegistry {
    on(Arc::new(MemoryKv::new()))
}

fn on(kv: Arc<dyn Kv>) -> LocalRegistry {
    let (runtime, bytes) = (Threads::shared(), Arc::new(MemoryBytes::new()));
    let records = Records::new(kv, Arc::clone(&runtime), Lifetimes::default());
    LocalRegistry::new(
        Arc::new(records),
        bytes.clone(),
        bytes,
        runtime,
        Options::default(),
    )
}

async fn in_memory() -> Fixture<dyn Registry> {
    Fixture::new(Arc::new(memory()))
}

async fn interleaved() -> Fixture<dyn Registry> {
    Fixture::new(Arc::new(on(Arc::new(Interleaved::new(MemoryKv::new())))))
}

async fn embedded(engine: EngineKind) -> Fixture<dyn Registry> {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = Threads::shared();
    let options = kv::Options {
        engine,
        ..kv::Options::default()
    };
    let stores =
        registry_storage::open_with(directory.path(), Arc::clone(&runtime), options).expect("stores");
    let records = Records::new(Arc::new(stores.kv), Arc::clone(&runtime), Lifetimes::default());
    let bytes = Arc::new(stores.bytes);
    let registry = LocalRegistry::new(
        Arc::new(records),
        bytes.clone(),
        bytes,
        runtime,
        Options::default(),
    );
    Fixture::new(Arc::new(registry) as Arc<dyn Registry>).guarded_by(directory)
}

async fn in_lmdb() -> Fixture<dyn Registry> {
    embedded(EngineKind::Lmdb).await
}

async fn in_sled() -> Fixture<dyn Registry> {
    embedded(EngineKind::Sled).await
}

fn below(prefix: &str) -> Visible {
    Visible::Only {
        names: [].into(),
        prefixes: [prefix.to_owned()].into(),
    }
}

/// Lets everybody do everything.
struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(&self, _identity: &Identity, _accesses: &[Access]) -> Result<Decision> {
        Ok(Decision::Allowed)
    }

    async fn visible(&self, _identity: &Identity) -> Result<Visible> {
        Ok(Visible::All)
    }
}

/// Lets the tester do everything below `suite/`, and nobody anything else.
struct SuiteOnly;

#[async_trait]
impl Authorizer for SuiteOnly {
    async fn authorize(&self, identity: &Identity, accesses: &[Access]) -> Result<Decision> {
        let tester = *identity == Identity::Named("tester".into());
        let allowed = accesses.iter().all(|access| match access {
            Access::Repository(name, _) => tester && name.as_str().starts_with("suite/"),
            Access::Catalog => tester,
        });
        Ok(if allowed {
            Decision::Allowed
        } else {
            Decision::Denied { visible: false }
        })
    }

    async fn visible(&self, identity: &Identity) -> Result<Visible> {
        let tester = *identity == Identity::Named("tester".into());
        Ok(if tester { below("suite/") } else { Visible::none() })
    }
}

async fn allowed() -> Fixture<dyn Registry> {
    Fixture::new(Arc::new(Authorized::around(memory(), AllowAll)))
}

async fn authorized() -> Fixture<dyn Registry> {
    Fixture::new(Arc::new(Authorized::around(memory(), SuiteOnly)))
}

async fn selected() -> Fixture<dyn Registry> {
    Fixture::new(Arc::new(Select::around(memory(), below("suite/"))))
}

async fn prefixed() -> Fixture<dyn Registry> {
    let prefix: RepositoryName = "tenants/one".parse().expect("a prefix");
    Fixture::new(Arc::new(Prefix::around(memory(), &prefix)))
}

registry_storage::registry_suite!(memory_stack, local, in_memory);
registry_storage::registry_suite!(interleaved_stack, local, interleaved);
registry_storage::registry_suite!(lmdb_stack, local, in_lmdb);
registry_storage::registry_suite!(sled_stack, local, in_sled);
registry_storage::registry_suite!(authorized_allow_all, local, allowed);
registry_storage::registry_suite!(authorized_by_repository, local, authorized);
registry_storage::registry_suite!(select, local, selected);
registry_storage::registry_suite!(prefix, local, prefixed);
