//! Who asks, and what they hold: the columns of the matrix.

use super::harbor::{Column, Right};

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A project from which anybody may pull.
    Public,
    /// One that is its members' alone.
    Private,
    /// One that there is not.
    Missing,
}

impl Place {
    pub(crate) const ALL: [Place; 3] = [Place::Public, Place::Private, Place::Missing];

    /// All names are as long, so that nothing is told by a length.
    pub(crate) const fn project(self) -> &'static str {
        match self {
            Place::Public => "opened",
            Place::Private => "closed",
            Place::Missing => "absent",
        }
    }
}

/// A public project that holds what anybody may mount.
pub(crate) const SHARED: &str = "shared";
/// The private project of another tenant.
pub(crate) const THEIRS: &str = "theirs";

/// What somebody logs in as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// They do not.
    Nobody,
    /// A user.
    User(&'static str),
    /// An access token of a user.
    Token(&'static str, &'static str),
    /// A robot of the registry.
    Robot(&'static str),
    /// A robot of the project that is asked about.
    OfProject(&'static str),
    /// A robot of [`THEIRS`].
    OfOthers(&'static str),
}

/// What somebody holds in the public and in the private project, before anything narrows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Nothing,
    Role(Column),
    /// As administrators do.
    Everything,
}

/// Somebody.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) name: &'static str,
    pub(crate) login: Login,
    /// Whether the credentials prove anything now.
    pub(crate) alive: bool,
    pub(crate) holds: Holds,
    /// What the account was narrowed to.
    pub(crate) limit: Option<&'static [Right]>,
    /// What it was given on the registry as a whole.
    pub(crate) system: &'static [Right],
    /// Whether they may pull from [`THEIRS`].
    pub(crate) of_theirs: bool,
    /// The repository that they ask about.
    pub(crate) repository: &'static str,
    /// Whether their role is for some repositories only, and for none of the project's other things.
    pub(crate) by_pattern: bool,
}

const PULL: Right = ("repository", "pull");
const PUSH: Right = ("repository", "push");
const DELETE: Right = ("repository", "delete");

/// What a robot is given that manages its project, and one that manages the registry.
pub(crate) const MANAGES: &[Right] = &[
    PULL,
    ("project", "read"),
    ("member", "create"),
    ("member", "read"),
    ("member", "update"),
    ("member", "delete"),
    ("member", "list"),
    ("robot", "create"),
    ("robot", "read"),
    ("robot", "update"),
    ("robot", "delete"),
    ("robot", "list"),
];
pub(crate) const MANAGES_ALL: &[Right] = &[
    ("user", "list"),
    ("user", "create"),
    ("user-group", "list"),
    ("project", "create"),
    ("robot", "list"),
];

/// Where patterns match, and where they do not.
pub(crate) const INSIDE: &str = "app";
pub(crate) const OUTSIDE: &str = "other";

const fn who(name: &'static str, login: Login, holds: Holds) -> Who {
    Who {
        name,
        login,
        alive: true,
        holds,
        limit: None,
        system: &[],
        of_theirs: matches!(holds, Holds::Everything),
        repository: INSIDE,
        by_pattern: false,
    }
}

const fn dead(name: &'static str, login: Login) -> Who {
    Who {
        alive: false,
        ..who(name, login, Holds::Nothing)
    }
}

const fn narrowed(name: &'static str, login: Login, holds: Holds, limit: &'static [Right]) -> Who {
    Who {
        limit: Some(limit),
        ..who(name, login, holds)
    }
}

use Column::{Admin, Developer, Guest, Limited, Maintainer};
use Holds::{Everything, Nothing, Role};
use Login::{Nobody, OfOthers, OfProject, Robot, Token, User};

/// Everybody.
pub(crate) const EVERYBODY: &[Who] = &[
    who("anonymous", Nobody, Nothing),
    Who {
        of_theirs: true,
        ..who("user of another tenant", User("mallory"), Nothing)
    },
    who("limited guest", User("limited"), Role(Limited)),
    who("guest", User("guest"), Role(Guest)),
    who("developer", User("developer"), Role(Developer)),
    who("developer by a group", User("grouped"), Role(Developer)),
    who("maintainer", User("maintainer"), Role(Maintainer)),
    who("project admin", User("boss"), Role(Admin)),
    who("administrator", User("admin"), Everything),
    Who {
        by_pattern: true,
        ..who(
            "developer of a pattern, inside it",
            User("partial"),
            Role(Developer),
        )
    },
    Who {
        repository: OUTSIDE,
        by_pattern: true,
        ..who("developer of a pattern, outside it", User("partial"), Nothing)
    },
    narrowed("robot that pulls", OfProject("puller"), Role(Admin), &[PULL]),
    narrowed(
        "robot that pushes",
        OfProject("pusher"),
        Role(Admin),
        &[PULL, PUSH],
    ),
    narrowed(
        "robot whose maker is a guest by now",
        OfProject("tamed"),
        Role(Guest),
        &[PULL, PUSH],
    ),
    Who {
        of_theirs: true,
        limit: Some(&[]),
        ..who("robot of another tenant", OfOthers("stray"), Nothing)
    },
    narrowed(
        "robot of the registry",
        Robot("everywhere"),
        Everything,
        &[PULL, PUSH, DELETE],
    ),
    narrowed(
        "robot of the registry that pulls",
        Robot("mirror"),
        Everything,
        &[PULL],
    ),
    narrowed(
        "robot that manages its project",
        OfProject("manager"),
        Role(Admin),
        MANAGES,
    ),
    Who {
        system: MANAGES_ALL,
        of_theirs: false,
        ..narrowed(
            "robot that manages the registry",
            Robot("manager"),
            Everything,
            &[],
        )
    },
    who(
        "access token of a developer",
        Token("developer", "laptop"),
        Role(Developer),
    ),
    narrowed(
        "access token of a developer, to pull",
        Token("developer", "reader"),
        Role(Developer),
        &[PULL],
    ),
    narrowed(
        "access token of an administrator, to pull",
        Token("admin", "reader"),
        Everything,
        &[PULL],
    ),
    who("member no more", User("revoked"), Nothing),
    dead("disabled user", User("disabled")),
    dead("deleted user", User("deleted")),
    dead("wrong password", User("mistaken")),
    dead("disabled robot", OfProject("disabled")),
    dead("deleted robot", OfProject("deleted")),
    dead("expired robot", OfProject("expired")),
    dead("robot whose maker is gone", OfProject("orphan")),
    dead("expired access token", Token("developer", "expired")),
    dead("deleted access token", Token("developer", "deleted")),
    dead("access token of a disabled user", Token("disabled", "laptop")),
    dead("access token of a deleted user", Token("deleted", "laptop")),
];

/// Pairs of names of whom the second may whatever the first may.
pub(crate) const NOT_LESS: &[(&str, &str)] = &[
    ("disabled user", "anonymous"),
    ("anonymous", "member no more"),
    ("anonymous", "robot of another tenant"),
    ("member no more", "user of another tenant"),
    ("member no more", "limited guest"),
    ("limited guest", "guest"),
    ("guest", "developer"),
    ("developer", "maintainer"),
    ("maintainer", "project admin"),
    ("project admin", "administrator"),
    ("user of another tenant", "administrator"),
    ("developer by a group", "developer"),
    ("developer", "developer by a group"),
    ("developer of a pattern, inside it", "developer"),
    ("developer of a pattern, outside it", "developer"),
    ("robot whose maker is a guest by now", "robot that pulls"),
    ("robot that pulls", "robot that pushes"),
    ("robot that pushes", "robot of the registry"),
    ("robot that manages its project", "project admin"),
    ("robot that manages the registry", "administrator"),
    ("robot of another tenant", "robot of the registry"),
    ("robot of the registry that pulls", "robot of the registry"),
    ("robot of the registry", "administrator"),
    ("access token of a developer", "developer"),
    (
        "access token of a developer, to pull",
        "access token of a developer",
    ),
    ("access token of an administrator, to pull", "administrator"),
];

impl Who {
    pub(crate) fn is_anonymous(&self) -> bool {
        self.login == Nobody
    }

    /// Whether they hold a right in a project, by the table.
    pub(crate) fn may(&self, place: Place, right: Right) -> bool {
        let within = self.limit.is_none_or(|limit| limit.contains(&right));
        let held = match self.holds {
            Nothing => false,
            Role(column) => column.may(right),
            Everything => true,
        };
        let anybody = place == Place::Public && Column::Public.may(right);
        self.alive && place != Place::Missing && (within && held || anybody)
    }

    /// Whether they hold a right that is not about a repository: what a role on a pattern does not give, but for knowing of the
    /// project.
    pub(crate) fn may_in_project(&self, place: Place, right: Right) -> bool {
        let whole = self.may(place, right) && !self.by_pattern;
        let knows = self.by_pattern && place != Place::Missing && right == ("project", "read");
        let anybody = place == Place::Public && Column::Public.may(right);
        whole || knows || anybody
    }

    /// Whether they may know that there is a project.
    pub(crate) fn knows_of(&self, place: Place) -> bool {
        self.may_in_project(place, ("project", "read")) || self.may(place, PULL)
    }

    /// Whether they hold a right on the registry as a whole.
    pub(crate) fn may_system(&self, right: Right) -> bool {
        self.is_admin() || self.alive && self.system.contains(&right)
    }

    /// Whether it is a user, or an access token that may all that its user may.
    pub(crate) fn is_whole(&self) -> bool {
        self.alive && matches!(self.login, User(_) | Token(..)) && self.limit.is_none()
    }

    /// Whether they may do everything that there is.
    pub(crate) fn is_admin(&self) -> bool {
        self.alive && self.holds == Everything && self.limit.is_none()
    }

    /// Whether they may make projects, if users may: then they may know which there are.
    pub(crate) fn creates_projects(&self, users_do: bool) -> bool {
        self.may_system(("project", "create")) || self.is_whole() && users_do
    }
}
