//! Everybody who is there at first, and what some of them lose.

use std::collections::HashMap;
use std::time::Duration;

use registry_auth::roles::Role;
use registry_auth::secret::Secret;
use registry_auth::{
    Grantee, GroupKind, NewGroup, NewRobot, NewToken, NewUser, Permission, RobotChange, Tenants,
};
use registry_core::store::collection::Query;

use super::house::ago;
use super::who::{INSIDE, MANAGES, MANAGES_ALL, Place, SHARED, THEIRS};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "Correct-Horse-1";
/// How long ago some things ended.
const ENDED: Duration = Duration::from_secs(300);

pub(crate) fn new_user(name: &str) -> NewUser {
    NewUser::new(name, Secret::new(PASSWORD))
}

/// Makes everybody, and says what each logs in with, and which ids users have.
pub(crate) async fn people(tenants: &Tenants) -> (HashMap<String, String>, HashMap<&'static str, u64>) {
    let Tenants {
        accounts, projects, ..
    } = tenants;
    let mut secrets = HashMap::new();
    accounts.first_start(Some(Secret::new(PASSWORD))).await.unwrap();
    secrets.insert("admin".to_owned(), PASSWORD.to_owned());
    let mut ids = HashMap::from([("admin", 1)]);
    for name in [
        "mallory",
        "limited",
        "guest",
        "developer",
        "grouped",
        "maintainer",
        "boss",
        "partial",
        "revoked",
        "disabled",
        "deleted",
        "mistaken",
        "demoted",
        "maker",
    ] {
        ids.insert(name, accounts.create_user(new_user(name)).await.unwrap().id);
        secrets.insert(name.to_owned(), PASSWORD.to_owned());
    }
    secrets.insert("mistaken".to_owned(), "Correct-Horse-2".to_owned());
    let group = NewGroup {
        name: "developers".to_owned(),
        kind: GroupKind::Http,
        ldap_dn: String::new(),
    };
    let group = accounts.create_group(group).await.unwrap().id;
    accounts.set_groups(ids["grouped"], &[group]).await.unwrap();

    let make = async |name: &str, owner: &str, public: bool| {
        let made = projects.create(name, ids[owner], public, Default::default());
        made.await.unwrap().id
    };
    make(SHARED, "admin", true).await;
    make(THEIRS, "mallory", false).await;
    let robot = async |by: &str, name: &str, project: Option<&str>, days: i64, access: &[(&str, &str)]| {
        let new = NewRobot {
            name: name.to_owned(),
            description: String::new(),
            project: project.map(str::to_owned),
            permissions: vec![Permission::project(project.unwrap_or("*"), access)],
            duration: days,
        };
        let (row, secret) = accounts.create_robot(by, new).await.unwrap();
        let name = accounts.robot_name(&row.value).await.unwrap();
        (name, secret.reveal().to_owned())
    };
    let (pull, push, delete) = (
        ("repository", "pull"),
        ("repository", "push"),
        ("repository", "delete"),
    );
    for place in [Place::Public, Place::Private] {
        let name = place.project();
        let project = make(name, "admin", place == Place::Public).await;
        let roles = [
            ("limited", Role::LimitedGuest),
            ("guest", Role::Guest),
            ("developer", Role::Developer),
            ("maintainer", Role::Maintainer),
            ("boss", Role::ProjectAdmin),
            ("revoked", Role::Maintainer),
            ("disabled", Role::Maintainer),
            ("deleted", Role::Maintainer),
            ("mistaken", Role::Maintainer),
            ("demoted", Role::ProjectAdmin),
            ("maker", Role::ProjectAdmin),
        ];
        for (user, role) in roles {
            let who = Grantee::User(ids[user]);
            projects.add_member(project, who, role, None).await.unwrap();
        }
        let who = Grantee::Group(group);
        let added = projects.add_member(project, who, Role::Developer, None);
        added.await.unwrap();
        let who = Grantee::User(ids["partial"]);
        let pattern = format!("{name}/{INSIDE}*").parse().unwrap();
        let added = projects.add_member(project, who, Role::Developer, Some(pattern));
        added.await.unwrap();
        let both: &[_] = &[pull, push];
        for (by, robot_name, days, access) in [
            ("boss", "puller", -1, &[pull][..]),
            ("boss", "pusher", -1, both),
            ("demoted", "tamed", -1, both),
            ("boss", "disabled", -1, both),
            ("boss", "deleted", -1, both),
            ("boss", "expired", 1, both),
            ("maker", "orphan", -1, both),
            ("boss", "manager", -1, MANAGES),
        ] {
            secrets.extend([robot(by, robot_name, Some(name), days, access).await]);
        }
    }
    secrets.extend([robot("mallory", "stray", Some(THEIRS), -1, &[pull, push]).await]);
    secrets.extend([robot("admin", "everywhere", None, -1, &[pull, push, delete]).await]);
    secrets.extend([robot("admin", "mirror", None, -1, &[pull]).await]);
    let manager = NewRobot {
        name: "manager".to_owned(),
        description: String::new(),
        project: None,
        permissions: vec![Permission::system(MANAGES_ALL)],
        duration: -1,
    };
    let (_, secret) = accounts.create_robot("admin", manager).await.unwrap();
    secrets.insert("robot$manager".to_owned(), secret.reveal().to_owned());
    let all = || vec![Permission::project("*", &[("repository", "pull")])];
    for (user, name, permissions, expires) in [
        ("developer", "laptop", None, None),
        ("developer", "reader", Some(all()), None),
        ("admin", "reader", Some(all()), None),
        ("developer", "expired", None, Some(ago(ENDED))),
        ("developer", "deleted", None, None),
        ("disabled", "laptop", None, None),
        ("deleted", "laptop", None, None),
    ] {
        let new = NewToken {
            name: name.to_owned(),
            description: String::new(),
            permissions,
            expires,
        };
        let (_, secret) = accounts.create_token(ids[user], new).await.unwrap();
        secrets.insert(format!("{user}#{name}"), secret.reveal().to_owned());
    }
    (secrets, ids)
}

/// Takes from some what they had.
pub(crate) async fn revoke(tenants: &Tenants) {
    let Tenants {
        accounts, projects, ..
    } = tenants;
    let id = async |name: &str| accounts.user_named(name).await.unwrap().id;
    for project in [Place::Public.project(), Place::Private.project()] {
        let project = projects.named(project).await.unwrap().id;
        let members = projects.members(project, Query::all());
        for member in members.await.unwrap().rows {
            if member.value.who == Grantee::User(id("revoked").await) {
                projects.remove_member(project, member.id).await.unwrap();
            }
            if member.value.who == Grantee::User(id("demoted").await) {
                projects.set_role(project, member.id, Role::Guest).await.unwrap();
            }
        }
    }
    let robots = accounts.robots(&Query::all()).await.unwrap();
    for robot in robots.rows {
        match robot.value.name.as_str() {
            "disabled" => {
                let change = RobotChange {
                    disabled: Some(true),
                    ..RobotChange::default()
                };
                accounts.change_robot("admin", robot.id, change).await.unwrap();
            }
            "deleted" => accounts.delete_robot("admin", robot.id).await.unwrap(),
            _ => {}
        }
    }
    let tokens = accounts.tokens(&Query::all()).await.unwrap();
    for token in tokens.rows {
        if token.value.name == "deleted" {
            accounts.delete_token(token.value.user, token.id).await.unwrap();
        }
    }
    accounts.set_enabled(id("disabled").await, false).await.unwrap();
    accounts.delete_user(id("deleted").await).await.unwrap();
    accounts.delete_user(id("maker").await).await.unwrap();
}
