//! What a robot or an access token is given, as it is written on the command line.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_core::Timestamp;
use registry_harbor::model::{Access, Permission};

use crate::progress::time;

const DAY: Duration = Duration::from_secs(86_400);

/// What is said about `--allow`.
pub(crate) const ALLOW: &str = "\
--allow takes pull; push, which is pull too; list; delete; and any other as RESOURCE:ACTION, such as tag:create or \
scan:read, as Harbor names them.";

/// Operations that are given together: `pull`, `push`, `list`, `delete`, or `RESOURCE:ACTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allow(Vec<Access>);

impl FromStr for Allow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let operations: &[(&str, &str)] = match text {
            "pull" => &[("repository", "pull")],
            "push" => &[("repository", "pull"), ("repository", "push")],
            "list" => &[
                ("repository", "list"),
                ("repository", "read"),
                ("artifact", "list"),
                ("artifact", "read"),
                ("tag", "list"),
            ],
            "delete" => &[
                ("repository", "delete"),
                ("artifact", "delete"),
                ("tag", "delete"),
            ],
            other => match other.split_once(':') {
                Some((resource, action)) if !resource.is_empty() && !action.is_empty() => {
                    &[(resource, action)]
                }
                _ => return Err("it is pull, push, list, delete or RESOURCE:ACTION".to_owned()),
            },
        };
        let operations = operations.iter().map(|(resource, action)| Access {
            resource: (*resource).to_owned(),
            action: (*action).to_owned(),
            effect: None,
        });
        Ok(Allow(operations.collect()))
    }
}

/// What is allowed in a place, each once.
fn permission(kind: &str, namespace: &str, allow: &[Allow]) -> Permission {
    let mut access: Vec<Access> = Vec::new();
    for one in allow.iter().flat_map(|Allow(operations)| operations) {
        if !access.contains(one) {
            access.push(one.clone());
        }
    }
    Permission {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        access,
    }
}

/// The same in each of these projects.
pub(crate) fn in_projects(projects: &[String], allow: &[Allow]) -> Vec<Permission> {
    let permissions = projects
        .iter()
        .map(|project| permission("project", project, allow));
    permissions.collect()
}

/// On the registry as a whole.
pub(crate) fn on_system(allow: &[Allow]) -> Option<Permission> {
    (!allow.is_empty()).then(|| permission("system", "/", allow))
}

/// Permissions for people: `shop: repository:pull, repository:push`.
pub(crate) fn told(permissions: &[Permission]) -> String {
    let told = permissions.iter().map(|permission| {
        let place = match permission.namespace.as_str() {
            "*" => "all projects",
            "/" => "the registry",
            project => project,
        };
        let access = permission.access.iter();
        let access: Vec<String> = access
            .map(|access| format!("{}:{}", access.resource, access.action))
            .collect();
        format!("{place}: {}", access.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// For how many days something is made; -1 for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Days(pub(crate) i64);

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it is whole days, such as 30d or 12weeks, or never".to_owned();
        if text == "never" {
            return Ok(Days(-1));
        }
        let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
        let days = duration.as_secs() / DAY.as_secs();
        match days > 0 && Duration::from_secs(days * DAY.as_secs()) == duration {
            true => Ok(Days(days as i64)),
            false => Err(wrong()),
        }
    }
}

/// Until when something is worth anything, from the API's seconds since 1970.
pub(crate) fn until(seconds: i64) -> String {
    let Ok(seconds) = u64::try_from(seconds) else {
        return "never".to_owned();
    };
    let at = time(Timestamp(seconds.saturating_mul(1000)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    match now.is_ok_and(|now| now.as_secs() >= seconds) {
        true => format!("{at}, expired"),
        false => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_written_short_or_as_harbor_names_it() {
        let allow: Vec<Allow> = ["push", "pull", "tag:create"]
            .map(|it| it.parse().unwrap())
            .into();
        let given = in_projects(&["shop".to_owned(), "*".to_owned()], &allow);
        assert_eq!(
            told(&given),
            "shop: repository:pull, repository:push, tag:create; \
             all projects: repository:pull, repository:push, tag:create"
        );
        for wrong in ["", "write", ":pull", "tag:"] {
            assert!(wrong.parse::<Allow>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_are_whole() {
        for (text, days) in [("30d", 30), ("2weeks", 14), ("48h", 2), ("never", -1)] {
            assert_eq!(text.parse(), Ok(Days(days)), "{text}");
        }
        for wrong in ["", "0d", "1h", "30", "1month", "-1d"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_over_is_told_so() {
        assert_eq!(until(-1), "never");
        assert_eq!(until(0), "1970-01-01T00:00:00Z, expired");
        assert_eq!(until(4_102_444_800), "2100-01-01T00:00:00Z");
    }
}
