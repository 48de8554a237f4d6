//! The collections of accounts and projects, and what is asked of several of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::collection::{Collection, CollectionError, Found, Match, Query, Row};
use registry_core::store::{Entry, Kv, KvError, Stamp, Txn};

use crate::accounts::{Group, Robot, Token, User, robot_key};
use crate::projects::{Grantee, Member, Project};

/// All collections, over the same records.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) users: Collection<User>,
    pub(crate) groups: Collection<Group>,
    pub(crate) robots: Collection<Robot>,
    pub(crate) tokens: Collection<Token>,
    pub(crate) projects: Collection<Project>,
    pub(crate) members: Collection<Member>,
}

impl Tables {
    /// The collections in these records. Every commit through them counts `written` up.
    pub(crate) fn new(records: Arc<dyn Kv>, written: Arc<AtomicU64>) -> Self {
        let kv: Arc<dyn Kv> = Arc::new(Counted { records, written });
        Tables {
            users: Collection::new(Arc::clone(&kv)),
            groups: Collection::new(Arc::clone(&kv)),
            robots: Collection::new(Arc::clone(&kv)),
            tokens: Collection::new(Arc::clone(&kv)),
            projects: Collection::new(Arc::clone(&kv)),
            members: Collection::new(Arc::clone(&kv)),
            kv,
        }
    }

    /// The access tokens of a user.
    pub(crate) async fn tokens_of(&self, user: u64) -> Result<Found<Token>, CollectionError> {
        let query = Query::all().and("user_id", Match::Is(user.to_string()));
        self.tokens.query(&query).await
    }

    /// The roles of a user or group.
    pub(crate) async fn members_who(&self, who: &Grantee) -> Result<Found<Member>, CollectionError> {
        let query = Query::all().and("who", Match::Is(who.key()));
        self.members.query(&query).await
    }

    /// The robot of this name, in the project of that name or of the whole registry.
    pub(crate) async fn robot_named(
        &self,
        project: Option<&str>,
        name: &str,
    ) -> Result<Option<Row<Robot>>, CollectionError> {
        let project = match project {
            Some(project) => match self.projects.by("name", project).await? {
                Some(project) => Some(project.id),
                None => return Ok(None),
            },
            None => None,
        };
        self.robots.by("name", &robot_key(project, name)).await
    }
}

/// Records that count what is written to them, whatever comes of it.
struct Counted {
    records: Arc<dyn Kv>,
    written: Arc<AtomicU64>,
}

#[async_trait]
impl Kv for Counted {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.records.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.records.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.records.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        let outcome = self.records.commit(txn).await;
        self.written.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}
