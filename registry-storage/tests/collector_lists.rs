//! What the collector lists and looks at when there is more, or more that is damaged, than is read at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{Begin, Entry, Kv, KvError, Lifetimes, Reclaim, Stamp, Terms, Trigger, Txn};
use registry_core::{Context, Digest, LocalRegistry, Options, Registry, Timestamp, once};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

/// Records of which some cannot be read, and which count their commits.
struct Damaging {
    kv: MemoryKv,
    damaged: Mutex<BTreeSet<String>>,
    commits: AtomicUsize,
}

impl Damaging {
    fn new(clock: &ManualClock) -> Arc<Self> {
        Arc::new(Damaging {
            kv: MemoryKv::with_clock(clock.clock()),
            damaged: Mutex::default(),
            commits: AtomicUsize::new(0),
        })
    }

    fn damage(&self, key: String) {
        self.damaged.lock().unwrap().insert(key);
    }

    fn is_damaged(&self, key: &str) -> bool {
        self.damaged.lock().unwrap().contains(key)
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let all = self.kv.scan(prefix, None, 100_000).await.unwrap();
        all.into_iter().map(|(key, _)| key).collect()
    }
}

#[async_trait]
impl Kv for Damaging {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        match self.is_damaged(key) {
            true => Err(KvError::Damaged {
                key: key.to_owned(),
                more: Vec::new(),
                page: Vec::new(),
            }),
            false => self.kv.get(key).await,
        }
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        let all = self.kv.scan(prefix, after, limit).await?;
        let (damaged, page): (Vec<_>, Vec<_>) = all.into_iter().partition(|(key, _)| self.is_damaged(key));
        let mut damaged = damaged.into_iter().map(|(key, _)| key);
        match damaged.next() {
            None => Ok(page),
            Some(key) => Err(KvError::Damaged {
                key,
                more: damaged.collect(),
                page,
            }),
        }
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.kv.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.kv.commit(txn).await
    }
}

const START: Timestamp = Timestamp(1_700_000_000_000);

fn records(kv: &Arc<Damaging>) -> Arc<Records> {
    let kv: Arc<dyn Kv> = Arc::clone(kv) as _;
    Arc::new(Records::new(kv, Threads::shared(), Lifetimes::default()))
}

fn begin() -> Begin {
    Begin {
        node: "a".to_owned(),
        trigger: Trigger::Asked,
        terms: Terms::default(),
    }
}

#[test]
fn what_may_be_unlinked_is_seen_behind_ten_thousand_that_may_not() {
    block_on(async {
        let clock = ManualClock::at(START);
        let kv = Damaging::new(&clock);
        let records = records(&kv);
        let doomed = |txn: Txn, number: u64, at: u64| {
            let value = format!(r#"{{"v":1,"location":{{"object":"{number:06}"}},"not_before":{at}}}"#);
            txn.put(format!("doomed/object:{number:06}"), value)
                .put(format!("unlink/{at:016}/object:{number:06}"), r#"{"v":1}"#)
        };
        let later = (0..10_050).fold(Txn::new(), |txn, number| doomed(txn, number, START.0 + 1000));
        kv.commit(later).await.unwrap();
        let backlog = records.backlog().await.unwrap();
        assert_eq!((backlog.doomed, backlog.unlinkable), (10_000, 0));
        kv.commit(doomed(Txn::new(), 999_999, START.0)).await.unwrap();
        assert_eq!(records.backlog().await.unwrap().unlinkable, 1);
        clock.advance(Duration::from_secs(10));
        assert_eq!(records.backlog().await.unwrap().unlinkable, 10_000);
    });
}

#[test]
fn runs_are_listed_behind_a_thousand_that_are_damaged() {
    block_on(async {
        let clock = ManualClock::at(START);
        let kv = Damaging::new(&clock);
        let records = records(&kv);
        for number in 0..2500 {
            records
                .begin_run(&format!("{number:05}"), &begin(), 10_000)
                .await
                .unwrap();
        }
        for number in 100..2400 {
            kv.damage(format!("run/{number:05}"));
        }
        let runs = records.runs(150).await.unwrap();
        assert_eq!(runs.len(), 150);
        assert_eq!((&*runs[0].id, &*runs[100].id), ("02499", "00099"));
        // One that a newer version wrote is no reason to show none.
        let newer = Txn::new().put("run/99999", r#"{"v":2}"#);
        kv.commit(newer).await.unwrap();
        assert_eq!(records.runs(1).await.unwrap()[0].id, "02499");
    });
}

#[test]
fn a_look_mends_nothing_that_is_damaged() {
    block_on(async {
        let clock = ManualClock::at(START);
        let kv = Damaging::new(&clock);
        let records = records(&kv);
        let bytes = Arc::new(MemoryBytes::new());
        let registry = LocalRegistry::new(
            Arc::clone(&records) as _,
            bytes.clone(),
            bytes,
            Threads::shared(),
            Options::default(),
        );
        let (ctx, name) = (
            Context::request(Identity::Anonymous, "test"),
            "team/app".parse().unwrap(),
        );
        for content in ["damaged", "whole"] {
            let upload = registry.begin_upload(&ctx, &name, None).await.unwrap();
            let digest = Digest::sha256(content.as_bytes());
            registry
                .finish_upload(&ctx, &name, &upload.id, None, once(content), &digest)
                .await
                .unwrap();
        }
        let damaged = Digest::sha256(b"damaged");
        for lease in kv.keys(&format!("lease/{damaged}/")).await {
            kv.damage(lease);
        }
        kv.damage(format!("blob/{damaged}"));
        let before = kv.commits.load(Ordering::SeqCst);
        let look = Arc::clone(&records) as Arc<dyn Reclaim>;
        let look = look.reading();
        let queued = look.queued(None, 10).await.unwrap();
        assert_eq!(queued.len(), 2);
        for entry in &queued {
            let foreseen = records.foresee(entry, &Terms::default()).await;
            assert_eq!(foreseen.is_ok(), entry.digest != damaged, "{foreseen:?}");
            let explained = records.explain(&entry.digest).await;
            assert_eq!(explained.is_ok(), entry.digest != damaged, "{explained:?}");
        }
        // Nor where a list steps over what is damaged.
        for entry in kv.keys("pending/").await {
            kv.damage(entry);
        }
        assert_eq!(look.queued(None, 10).await.unwrap(), []);
        assert_eq!(kv.commits.load(Ordering::SeqCst), before);
        // Whoever works does mend.
        records.queued(None, 10).await.unwrap();
        assert!(kv.commits.load(Ordering::SeqCst) > before);
    });
}
