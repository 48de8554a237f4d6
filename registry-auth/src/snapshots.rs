//! What accounts may and which projects there are, in memory: so that a decision is a few look-ups and no read.
//!
//! Nothing here is older than a second. Whatever is written to accounts or projects changes one mark in the same transaction.
//! The mark is read again once a second, and if it has changed, everything is loaded anew when it is asked for. What is
//! written through the same handle counts at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use registry_core::auth::Visible;
use registry_core::store::Stamp;
use registry_core::store::collection::{CollectionError, Match, Query};
use registry_core::{Runtime, Timestamp};

use crate::accounts::{Creator, Limit, Name, Robot, Settings, Token, User, name};
use crate::power::{Account, Grant, Power, ProjectView};
use crate::projects::Grantee;
use crate::roles::{Act, Resource, Role};
use crate::tables::Tables;
use crate::view::View;

/// How old the mark may be. As much again may be what is remembered of a token or a login, so that what changed on another
/// node is true here within a second.
pub const STALE_AFTER: Duration = Duration::from_millis(500);
/// How many accounts, and how many projects, are kept in memory.
const KEPT: usize = 10_000;
/// How many lists of what somebody sees are. Each may be long.
const VIEWS_KEPT: usize = 500;
/// Longest name that is looked for.
const LONGEST: usize = 600;

/// What is in memory and not too old.
pub(crate) struct Warm<'s> {
    snapshots: &'s Snapshots,
    generation: u64,
}

impl Warm<'_> {
    /// What is known of the account of this name: that there is none, too.
    pub(crate) fn account(&self, name: &str) -> Option<Option<Arc<Account>>> {
        let slot = self.snapshots.accounts.get(name)?;
        (slot.generation == self.generation).then_some(slot.value)
    }

    /// What is known of the project of this name: that there is none, too.
    pub(crate) fn project(&self, name: &str) -> Option<Option<ProjectView>> {
        let slot = self.snapshots.projects.get(name)?;
        (slot.generation == self.generation).then_some(slot.value)
    }
}

/// Something that was loaded, and when it stops counting.
#[derive(Clone)]
struct Slot<T> {
    generation: u64,
    value: T,
}

/// What is in memory of accounts and projects.
pub(crate) struct Snapshots {
    tables: Tables,
    runtime: Arc<dyn Runtime>,
    settings: Settings,
    /// Counts what was written through this handle.
    written: Arc<AtomicU64>,
    /// Counts how often the mark was found changed.
    changed: AtomicU64,
    /// When the mark was read last, and what it was.
    looked: AtomicU64,
    mark: Mutex<Option<Stamp>>,
    accounts: Cache<Box<str>, Slot<Option<Arc<Account>>>>,
    projects: Cache<Box<str>, Slot<Option<ProjectView>>>,
    views: Cache<Box<str>, Slot<Visible>>,
    public: Mutex<Option<Slot<Visible>>>,
    /// The id of a project that was found: read when another is not.
    any_project: AtomicU64,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Snapshots({} accounts, {} projects)",
            self.accounts.len(),
            self.projects.len()
        )
    }
}

impl Snapshots {
    pub(crate) fn new(
        tables: Tables,
        written: Arc<AtomicU64>,
        runtime: Arc<dyn Runtime>,
        settings: Settings,
    ) -> Self {
        Snapshots {
            tables,
            runtime,
            settings,
            written,
            changed: AtomicU64::new(0),
            // No time is after this, so the mark is read before anything.
            looked: AtomicU64::new(u64::MAX),
            mark: Mutex::new(None),
            accounts: Cache::new(KEPT),
            projects: Cache::new(KEPT),
            views: Cache::new(VIEWS_KEPT),
            public: Mutex::new(None),
            any_project: AtomicU64::new(1),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.accounts.len(), self.projects.len())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    /// What was loaded under this number is not too old; nothing if the mark must be read first to tell.
    fn present(&self, now: Timestamp) -> Option<u64> {
        let looked = Timestamp(self.looked.load(Ordering::SeqCst));
        // A clock that went back does not make anything fresh.
        let is_fresh = looked <= now && now.since(looked) < STALE_AFTER;
        is_fresh.then(|| self.written.load(Ordering::SeqCst) + self.changed.load(Ordering::SeqCst))
    }

    /// The same; reads the mark if it must.
    pub(crate) async fn generation(&self, now: Timestamp) -> Result<u64, CollectionError> {
        if let Some(generation) = self.present(now) {
            return Ok(generation);
        }
        let mark = self.tables.users.mark().await?;
        let mut known = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != mark {
            *known = mark;
            self.changed.fetch_add(1, Ordering::SeqCst);
        }
        self.looked.store(now.0, Ordering::SeqCst);
        Ok(self.written.load(Ordering::SeqCst) + self.changed.load(Ordering::SeqCst))
    }

    /// What is in memory and not too old; nothing if that must be found out first. Nearly every question is answered from it,
    /// without a future.
    pub(crate) fn warm(&self, now: Timestamp) -> Option<Warm<'_>> {
        let generation = self.present(now)?;
        Some(Warm {
            snapshots: self,
            generation,
        })
    }

    /// The account of this name, unless there is none, or it is disabled.
    pub(crate) async fn account(
        &self,
        generation: u64,
        name: &str,
    ) -> Result<Option<Arc<Account>>, CollectionError> {
        let warm = Warm {
            snapshots: self,
            generation,
        };
        if let Some(known) = warm.account(name) {
            return Ok(known);
        }
        let value = Box::pin(self.look_up(name)).await?;
        if name.len() <= LONGEST {
            let kept = value.clone();
            let slot = Slot {
                generation,
                value: kept,
            };
            self.accounts.insert(name.into(), slot);
        }
        Ok(value)
    }

    /// The project of this name, if there is one.
    pub(crate) async fn project(
        &self,
        generation: u64,
        name: &str,
    ) -> Result<Option<ProjectView>, CollectionError> {
        let warm = Warm {
            snapshots: self,
            generation,
        };
        if let Some(known) = warm.project(name) {
            return Ok(known);
        }
        let found = self.tables.projects.by("name", name).await?;
        match &found {
            Some(row) => self.any_project.store(row.id, Ordering::Relaxed),
            // As much work as for one that there is, so that the time does not tell who may not know.
            None => drop(
                self.tables
                    .projects
                    .get(self.any_project.load(Ordering::Relaxed))
                    .await?,
            ),
        }
        let value = found.map(|row| ProjectView {
            id: row.id,
            public: row.value.public,
        });
        if name.len() <= LONGEST {
            self.projects.insert(name.into(), Slot { generation, value });
        }
        Ok(value)
    }

    /// The account of this name as the records have it now.
    pub(crate) async fn look_up(&self, name: &str) -> Result<Option<Arc<Account>>, CollectionError> {
        if name.len() > LONGEST {
            return Ok(None);
        }
        match Name::parse(name, &self.settings) {
            Name::User(name) => match self.tables.users.by("username", name).await? {
                Some(row) => self.user(row.id, row.value).await,
                None => Ok(None),
            },
            Name::Robot { project, name } => match self.tables.robot_named(project, name).await? {
                Some(row) => self.robot(row.value).await,
                None => Ok(None),
            },
            Name::Token { user, name } => {
                let Some(user) = self.tables.users.by("username", user).await? else {
                    return Ok(None);
                };
                let key = format!("{}/{name}", user.id);
                match self.tables.tokens.by("name", &key).await? {
                    Some(token) => self.token(user.id, user.value, token.value).await,
                    None => Ok(None),
                }
            }
        }
    }

    pub(crate) async fn user(&self, id: u64, user: User) -> Result<Option<Arc<Account>>, CollectionError> {
        if !user.enabled {
            return Ok(None);
        }
        let mut grants = self.grants(Grantee::User(id)).await?;
        for group in &user.groups {
            let group = *group as u64;
            // One that was deleted gives nothing, whatever it was given.
            if self.tables.groups.get(group).await?.is_some() {
                grants.extend(self.grants(Grantee::Group(group)).await?);
            }
        }
        grants.sort_by_key(|grant| grant.project);
        Ok(Some(Arc::new(Account {
            name: user.username.into(),
            stamp: user.generation,
            until: None,
            power: Power::User {
                id,
                admin: user.admin,
                grants: grants.into(),
            },
        })))
    }

    async fn grants(&self, who: Grantee) -> Result<Vec<Grant>, CollectionError> {
        let members = self.tables.members_who(&who).await?.rows.into_iter();
        let grants = members.map(|member| Grant {
            project: member.value.project,
            role: member.value.role,
            pattern: member.value.pattern,
        });
        Ok(grants.collect())
    }

    pub(crate) async fn robot(&self, robot: Robot) -> Result<Option<Arc<Account>>, CollectionError> {
        if robot.disabled {
            return Ok(None);
        }
        let by = match robot.creator {
            Creator::User(id) => match self.tables.users.get(id).await? {
                Some(user) => self.user(user.id, user.value).await?,
                None => None,
            },
            // Each is less deep than the one that it made.
            Creator::Robot(id) => match self.tables.robots.get(id).await? {
                Some(creator) if creator.value.depth < robot.depth => {
                    Box::pin(self.robot(creator.value)).await?
                }
                _ => None,
            },
        };
        let project = match robot.project {
            Some(id) => match self.tables.projects.get(id).await? {
                Some(project) => Some(project.value.name),
                None => return Ok(None),
            },
            None => None,
        };
        // What this version does not understand gives nothing.
        let (Some(by), Ok(limit)) = (by, Limit::of(&robot.permissions)) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Account {
            name: name::robot(&self.settings, project.as_deref(), &robot.name).into(),
            stamp: robot.generation,
            until: robot.expires,
            power: Power::Narrowed {
                limit: Some(limit),
                by,
            },
        })))
    }

    pub(crate) async fn token(
        &self,
        id: u64,
        user: User,
        token: Token,
    ) -> Result<Option<Arc<Account>>, CollectionError> {
        let name = name::token(&user.username, &token.name);
        // Either changing changes it.
        let stamp = user.generation.rotate_left(1) ^ token.generation;
        let limit = match token.permissions.as_deref().map(Limit::of) {
            None => None,
            Some(Ok(limit)) => Some(limit),
            Some(Err(_)) => return Ok(None),
        };
        let Some(by) = self.user(id, user).await? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Account {
            name: name.into(),
            stamp,
            until: token.expires,
            power: Power::Narrowed { limit, by },
        })))
    }

    /// What anybody may pull from.
    pub(crate) async fn public(&self, generation: u64) -> Result<Visible, CollectionError> {
        let known = self.public.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(slot) = known.filter(|slot| slot.generation == generation) {
            return Ok(slot.value);
        }
        let query = Query::all().and("public", Match::Is("true".to_owned()));
        let mut view = View::default();
        for project in self.tables.projects.query(&query).await?.rows {
            view.add_project(&project.value.name);
        }
        let value = view.done();
        let slot = Slot {
            generation,
            value: value.clone(),
        };
        *self.public.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot);
        Ok(value)
    }

    /// What an account may pull from.
    pub(crate) async fn visible(
        &self,
        generation: u64,
        account: &Account,
    ) -> Result<Visible, CollectionError> {
        if let Some(slot) = self.views.get(&*account.name)
            && slot.generation == generation
        {
            return Ok(slot.value);
        }
        let public = self.public(generation).await?;
        let value = match self.own(account).await? {
            Visible::All => Visible::All,
            own => View::of(&public).and(&own).done(),
        };
        let slot = Slot {
            generation,
            value: value.clone(),
        };
        self.views.insert((*account.name).into(), slot);
        Ok(value)
    }

    /// What an account may pull from beside what anybody may.
    async fn own(&self, account: &Account) -> Result<Visible, CollectionError> {
        let pulls = |role: Role| role.rights().contains(Resource::Repository, Act::Pull);
        let mut view = View::default();
        match &account.power {
            Power::User { admin: true, .. } => return Ok(Visible::All),
            Power::User { grants, .. } => {
                for grant in grants.iter().filter(|grant| pulls(grant.role)) {
                    let Some(project) = self.tables.projects.get(grant.project).await? else {
                        continue;
                    };
                    match &grant.pattern {
                        Some(pattern) => view.add_pattern(pattern),
                        None => view.add_project(&project.value.name),
                    }
                }
            }
            Power::Narrowed { limit: None, by } => return Box::pin(self.own(by)).await,
            Power::Narrowed {
                limit: Some(limit),
                by,
            } => {
                let of_by = Box::pin(self.own(by)).await?;
                let pulls = (Resource::Repository, Act::Pull);
                if limit
                    .everywhere
                    .is_some_and(|rights| rights.contains(pulls.0, pulls.1))
                {
                    return Ok(of_by);
                }
                for (id, rights) in &limit.projects {
                    if rights.contains(pulls.0, pulls.1)
                        && let Some(project) = self.tables.projects.get(*id).await?
                    {
                        view.add_project(&project.value.name);
                    }
                }
                return Ok(view.done().and(&of_by));
            }
        }
        Ok(view.done())
    }
}
