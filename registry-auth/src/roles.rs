//! What each role may do: Harbor's roles with its matrix, as data.
//!
//! The source is Harbor 2.16, `src/common/rbac/project/rbac_role.go`. Rows are kinds of things of a project, columns are
//! roles; each cell has the operations as letters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role in a project. Each may whatever those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Pulls, and sees nothing of who else is there.
    LimitedGuest,
    /// Pulls, and sees what is there.
    Guest,
    /// Pulls and pushes.
    Developer,
    /// Deletes, scans and sets policies too.
    Maintainer,
    /// Says who else may what, and may delete the project.
    ProjectAdmin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 5] = [
        Role::LimitedGuest,
        Role::Guest,
        Role::Developer,
        Role::Maintainer,
        Role::ProjectAdmin,
    ];

    /// Its number in Harbor's API.
    pub const fn id(self) -> u8 {
        match self {
            Role::ProjectAdmin => 1,
            Role::Developer => 2,
            Role::Guest => 3,
            Role::Maintainer => 4,
            Role::LimitedGuest => 5,
        }
    }

    /// The role with this number in Harbor's API.
    pub fn from_id(id: u8) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.id() == id)
    }

    /// Its name in Harbor's API.
    pub const fn name(self) -> &'static str {
        match self {
            Role::ProjectAdmin => "projectAdmin",
            Role::Developer => "developer",
            Role::Guest => "guest",
            Role::Maintainer => "maintainer",
            Role::LimitedGuest => "limitedGuest",
        }
    }

    /// What it may.
    pub const fn rights(self) -> &'static Rights {
        &RIGHTS[column(self)]
    }
}

/// What anybody may in a public project.
pub const fn public() -> &'static Rights {
    &RIGHTS[PUBLIC]
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The column of a role in the matrix.
const fn column(role: Role) -> usize {
    match role {
        Role::ProjectAdmin => 0,
        Role::Maintainer => 1,
        Role::Developer => 2,
        Role::Guest => 3,
        Role::LimitedGuest => 4,
    }
}

const PUBLIC: usize = 5;

/// Declares an enumeration whose members have names on the wire.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$member_doc:meta])* $member:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[$member_doc])* $member,)* }

        impl $type {
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$member,)*];

            /// Its name in Harbor's API.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$member => $name,)* }
            }
        }

        impl FromStr for $type {
            type Err = Unknown;

            fn from_str(name: &str) -> Result<Self, Unknown> {
                match name {
                    $($name => Ok($type::$member),)*
                    _ => Err(Unknown(name.to_owned())),
                }
            }
        }
    };
}

/// A name that means nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a resource nor an action; `permissions` lists those that there are")]
pub struct Unknown(pub String);

named! {
    /// A kind of thing in a project.
    Resource {
        /// The project itself.
        Project = "project",
        /// Who belongs to it.
        Member = "member",
        /// Its settings.
        Metadata = "metadata",
        /// Its log.
        Log = "log",
        /// Labels.
        Label = "label",
        /// What it may hold.
        Quota = "quota",
        /// Repositories, and what is pulled from and pushed to them.
        Repository = "repository",
        /// What is kept for how long.
        TagRetention = "tag-retention",
        /// Which tags do not move.
        ImmutableTag = "immutable-tag",
        /// What the portal shows of its settings.
        Configuration = "configuration",
        /// Robots.
        Robot = "robot",
        /// Webhooks.
        NotificationPolicy = "notification-policy",
        /// Scans for vulnerabilities.
        Scan = "scan",
        /// Lists of what is inside.
        Sbom = "sbom",
        /// Which scanner scans.
        Scanner = "scanner",
        /// Artifacts.
        Artifact = "artifact",
        /// Tags.
        Tag = "tag",
        /// What artifacts tell of themselves.
        ArtifactAddition = "artifact-addition",
        /// What is attached to artifacts.
        Accessory = "accessory",
        /// Labels of artifacts.
        ArtifactLabel = "artifact-label",
        /// What is distributed ahead.
        PreheatPolicy = "preheat-policy",
        /// Reports of vulnerabilities.
        ExportCve = "export-cve",
    }
}

named! {
    /// What is done to a thing.
    Act {
        /// Make one.
        Create = "create",
        /// Look at one.
        Read = "read",
        /// Change one.
        Update = "update",
        /// Take one away.
        Delete = "delete",
        /// See which there are.
        List = "list",
        /// Pull from a repository.
        Pull = "pull",
        /// Push to a repository.
        Push = "push",
        /// Run a policy.
        Operate = "operate",
        /// Stop what runs.
        Stop = "stop",
    }
}

/// The matrix. Columns: project admin, maintainer, developer, guest, limited guest, anybody in a public project. Letters:
/// `c`reate, `r`ead, `u`pdate, `d`elete, `l`ist, pul`L`, pus`H`, `o`perate, `s`top.
const MATRIX: &[(Resource, [&str; 6])] = &[
    (Resource::Project, ["rud", "r", "r", "r", "r", "r"]),
    (Resource::Member, ["crudl", "rl", "rl", "rl", "", ""]),
    (Resource::Metadata, ["crud", "r", "", "", "", ""]),
    (Resource::Log, ["l", "", "", "", "", ""]),
    (Resource::Label, ["crudl", "crudl", "rl", "rl", "", "rl"]),
    (Resource::Quota, ["r", "r", "r", "r", "r", ""]),
    (
        Resource::Repository,
        ["crudlLH", "crudlLH", "crulLH", "rlL", "rlL", "lL"],
    ),
    (Resource::TagRetention, ["crudlo", "crudlo", "crudlo", "", "", ""]),
    (Resource::ImmutableTag, ["cudl", "cudl", "", "", "", ""]),
    (Resource::Configuration, ["ru", "r", "r", "r", "r", ""]),
    (Resource::Robot, ["crudl", "rl", "rl", "rl", "", ""]),
    (Resource::NotificationPolicy, ["crudl", "rl", "", "", "", ""]),
    (Resource::Scan, ["crs", "crs", "r", "r", "r", "r"]),
    (Resource::Sbom, ["crs", "crs", "r", "r", "r", ""]),
    (Resource::Scanner, ["rc", "r", "r", "r", "r", "r"]),
    (Resource::Artifact, ["crdl", "crdl", "crl", "rl", "rl", "rl"]),
    (Resource::Tag, ["cdl", "cdl", "cl", "l", "l", "l"]),
    (Resource::ArtifactAddition, ["r", "r", "r", "r", "r", "r"]),
    (Resource::Accessory, ["l", "l", "l", "l", "l", "l"]),
    (Resource::ArtifactLabel, ["cd", "cd", "cd", "", "", ""]),
    (Resource::PreheatPolicy, ["crudl", "", "", "", "", ""]),
    (Resource::ExportCve, ["crl", "crl", "crl", "", "", ""]),
];

const RESOURCES: usize = Resource::ALL.len();

/// Operations on things of a project, as a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rights([u16; RESOURCES]);

static RIGHTS: [Rights; 6] = {
    let mut columns = [Rights([0; RESOURCES]); 6];
    let mut row = 0;
    while row < MATRIX.len() {
        let (resource, cells) = MATRIX[row];
        let mut column = 0;
        while column < 6 {
            let letters = cells[column].as_bytes();
            let mut at = 0;
            while at < letters.len() {
                columns[column].0[resource as usize] |= 1 << act(letters[at]) as u16;
                at += 1;
            }
            column += 1;
        }
        row += 1;
    }
    columns
};

const fn act(letter: u8) -> Act {
    match letter {
        b'c' => Act::Create,
        b'r' => Act::Read,
        b'u' => Act::Update,
        b'd' => Act::Delete,
        b'l' => Act::List,
        b'L' => Act::Pull,
        b'H' => Act::Push,
        b'o' => Act::Operate,
        b's' => Act::Stop,
        _ => panic!("no operation has this letter"),
    }
}

impl Rights {
    /// None at all.
    pub const NONE: Rights = Rights([0; RESOURCES]);

    /// Whether this operation is among them.
    pub const fn contains(&self, resource: Resource, act: Act) -> bool {
        self.0[resource as usize] & (1 << act as u16) != 0
    }

    /// Adds an operation.
    pub fn add(&mut self, resource: Resource, act: Act) {
        self.0[resource as usize] |= 1 << act as u16;
    }

    /// Adds all of another set.
    pub fn add_all(&mut self, other: &Rights) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, its)| *mine |= its);
    }

    /// Whether all of these are in another set.
    pub fn is_within(&self, other: &Rights) -> bool {
        self.0.iter().zip(other.0).all(|(mine, its)| mine & !its == 0)
    }

    /// Each operation.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, Act)> + '_ {
        let all = Resource::ALL
            .iter()
            .flat_map(|resource| Act::ALL.iter().map(|act| (*resource, *act)));
        all.filter(|(resource, act)| self.contains(*resource, *act))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|(resource, act)| format!("{}:{}", resource.as_str(), act.as_str())),
            )
            .finish()
    }
}

/// Operations on the registry as a whole that robots may be given, as Harbor names them.
pub(crate) const SYSTEM: &[(&str, &str)] = &[
    ("audit-log", "l"),
    ("catalog", "r"),
    ("export-cve", "cr"),
    ("garbage-collection", "crulso"),
    ("jobservice-monitor", "ls"),
    ("label", "crud"),
    ("preheat-instance", "crudl"),
    ("project", "cl"),
    ("purge-audit", "crulso"),
    ("quota", "rul"),
    ("registry", "crudl"),
    ("replication", "crl"),
    ("replication-adapter", "l"),
    ("replication-policy", "crudl"),
    ("robot", "crudl"),
    ("scan-all", "crus"),
    ("scanner", "crudl"),
    ("security-hub", "rl"),
    ("system-volumes", "r"),
    ("user", "crudl"),
    ("user-group", "crudl"),
];

/// The operations of a row of [`SYSTEM`].
pub(crate) fn acts(letters: &str) -> impl Iterator<Item = Act> + '_ {
    letters.bytes().map(act)
}

/// Everything that a robot may be given on the registry as a whole, as names: what Harbor's `/permissions` lists as `system`.
pub fn system_permissions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = SYSTEM.iter();
    rows.flat_map(|(resource, letters)| acts(letters).map(|act| (*resource, act.as_str())))
}

/// Everything that a robot may be given in a project, as names: what Harbor's `/permissions` lists as `project`.
pub fn project_permissions() -> impl Iterator<Item = (&'static str, &'static str)> {
    // Whatever there is, some role may.
    let all = Role::ProjectAdmin.rights().iter();
    all.map(|(resource, act)| (resource.as_str(), act.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn an_operation() -> impl Strategy<Value = (Resource, Act)> {
        (
            prop::sample::select(Resource::ALL),
            prop::sample::select(Act::ALL),
        )
    }

    proptest! {
        #[test]
        fn a_greater_role_never_may_less((resource, act) in an_operation(), a in 0..5_usize, b in 0..5_usize) {
            let (less, more) = (Role::ALL[a.min(b)], Role::ALL[a.max(b)]);
            prop_assert!(!less.rights().contains(resource, act) || more.rights().contains(resource, act));
        }

        #[test]
        fn names_of_operations_come_back((resource, act) in an_operation()) {
            prop_assert_eq!(resource.as_str().parse(), Ok(resource));
            prop_assert_eq!(act.as_str().parse(), Ok(act));
        }
    }

    #[test]
    fn every_resource_has_one_row_and_every_role_harbors_id() {
        for resource in Resource::ALL {
            assert_eq!(
                MATRIX.iter().filter(|(row, _)| row == resource).count(),
                1,
                "{resource:?}"
            );
        }
        let ids = [
            ("projectAdmin", 1),
            ("developer", 2),
            ("guest", 3),
            ("maintainer", 4),
            ("limitedGuest", 5),
        ];
        for (name, id) in ids {
            assert_eq!(Role::from_id(id).map(Role::name), Some(name));
        }
        assert_eq!(Role::from_id(0), None);
        for (_, letters) in SYSTEM {
            assert_eq!(acts(letters).count(), letters.len());
        }
    }

    #[test]
    fn what_can_be_given_is_listed_once() {
        for listed in [
            system_permissions().collect::<Vec<_>>(),
            project_permissions().collect::<Vec<_>>(),
        ] {
            let once: std::collections::BTreeSet<_> = listed.iter().collect();
            assert_eq!(once.len(), listed.len());
            assert!(once.len() > 60);
        }
        assert!(project_permissions().any(|it| it == ("repository", "push")));
        assert!(system_permissions().any(|it| it == ("project", "create")));
    }

    #[test]
    fn pulling_pushing_and_deleting_are_given_as_harbor_gives_them() {
        let may = |rights: &Rights| {
            [Act::Pull, Act::Push, Act::Delete].map(|act| rights.contains(Resource::Repository, act))
        };
        assert_eq!(may(Role::ProjectAdmin.rights()), [true, true, true]);
        assert_eq!(may(Role::Maintainer.rights()), [true, true, true]);
        assert_eq!(may(Role::Developer.rights()), [true, true, false]);
        assert_eq!(may(Role::Guest.rights()), [true, false, false]);
        assert_eq!(may(Role::LimitedGuest.rights()), [true, false, false]);
        assert_eq!(may(public()), [true, false, false]);
    }
}
