//! Things by their names, where the API wants an id.

use registry_auth::query::write_filter;
use registry_core::store::collection::{Condition, Filter, Match};
use registry_harbor::model::{Project, ProjectMember, Robot, Token, User};
use serde_json::Value;

use super::client::{Client, path, read};

/// A filter that all these conditions make.
pub(crate) fn filter(conditions: &[(&str, Match)]) -> String {
    let conditions = conditions.iter().map(|(field, test)| Condition {
        field: (*field).to_owned(),
        test: test.clone(),
    });
    write_filter(&Filter(conditions.collect()))
}

fn is(text: &str) -> Match {
    Match::Is(text.to_owned())
}

/// The user of this name, and what the API says of them.
pub(crate) fn user(client: &Client, name: &str) -> Result<(User, Value), String> {
    let parameters = [("q", filter(&[("username", is(name))]))];
    let found = client.list(
        "/users",
        &parameters.each_ref().map(|(key, text)| (*key, text.as_str())),
    );
    for value in found.map_err(|why| why.about("user", name))? {
        let user: User = read(&value)?;
        if user.username == name {
            return Ok((user, value));
        }
    }
    Err(format!(
        "there is no user {name}; `berth user list` says which there are"
    ))
}

/// A project, as the API says it.
pub(crate) fn project(client: &Client, name: &str) -> Result<Value, String> {
    let found = client.get(&path(&["projects", name]));
    found.map_err(|why| why.about("project", name))
}

/// The member of a project with this name, on these repositories only if a pattern is given.
pub(crate) fn member(
    client: &Client,
    project: &str,
    (name, kind): (&str, &str),
    pattern: Option<&str>,
) -> Result<(ProjectMember, Value), String> {
    let found = client.list(&path(&["projects", project, "members"]), &[("entityname", name)]);
    let mut others = Vec::new();
    for value in found.map_err(|why| why.about("project", project))? {
        let member: ProjectMember = read(&value)?;
        if member.entity_name.as_deref() != Some(name) || member.entity_type != kind {
            continue;
        }
        if member.pattern.as_deref() == pattern {
            return Ok((member, value));
        }
        others.push(member.pattern.unwrap_or_else(|| "all repositories".to_owned()));
    }
    let who = match kind {
        "g" => format!("group {name}"),
        _ => name.to_owned(),
    };
    Err(match others.is_empty() {
        true => format!(
            "{who} is no member of project {project}; `berth project member list {project}` says who is"
        ),
        false => format!(
            "{who} has no such role in project {project}, but on {}; --pattern says which is meant",
            others.join(" and ")
        ),
    })
}

/// The robots of a project, or of the registry; of one name, if one is given.
pub(crate) fn robots(
    client: &Client,
    project: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Value>, String> {
    let mut conditions = match project {
        Some(name) => {
            let project: Project = read(&self::project(client, name)?)?;
            let id = Match::Is(project.project_id.to_string());
            vec![("Level", is("project")), ("ProjectID", id)]
        }
        None => vec![("Level", is("system"))],
    };
    conditions.extend(name.map(|name| ("name", is(name))));
    Ok(client.list("/robots", &[("q", &filter(&conditions))])?)
}

/// A robot by its name, with or without what is put before it, and what the API says of it.
pub(crate) fn robot(client: &Client, project: Option<&str>, name: &str) -> Result<(Robot, Value), String> {
    let (project, short) = parts(project, name);
    for value in robots(client, project, Some(short))? {
        let robot: Robot = read(&value)?;
        // Whoever says what is put before it means no other.
        if !name.contains('$') || robot.name == name {
            return Ok((robot, value));
        }
    }
    Err(match project {
        Some(project) => format!(
            "project {project} has no robot {short}; `berth robot list --project {project}` says which it has"
        ),
        None => format!(
            "the registry has no robot {short}; a project's is named with --project, and `berth robot list` says which there \
             are"
        ),
    })
}

/// The project of a robot, and its name there: of `ci`, `shop+ci` or `robot$shop+ci`.
fn parts<'a>(project: Option<&'a str>, name: &'a str) -> (Option<&'a str>, &'a str) {
    let rest = name.split_once('$').map_or(name, |(_, rest)| rest);
    match rest.split_once('+') {
        Some((project, short)) => (Some(project), short),
        None => (project, rest),
    }
}

/// An access token of whoever asks.
pub(crate) fn token(client: &Client, name: &str) -> Result<(Token, Value), String> {
    for value in client.list(crate::token::MINE, &[])? {
        let token: Token = read(&value)?;
        // Its whole name has its user's before it.
        let short = token.name.rsplit('#').next();
        if token.name == name || short == Some(name) {
            return Ok((token, value));
        }
    }
    Err(format!(
        "{} has no access token {name}; `berth token list` says which there are",
        client.username()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robot_is_found_by_its_short_and_its_whole_name() {
        for (project, name) in [(Some("shop"), "ci"), (None, "shop+ci"), (None, "robot$shop+ci")] {
            assert_eq!(parts(project, name), (Some("shop"), "ci"), "{name}");
        }
        assert_eq!(parts(None, "robot$ci"), (None, "ci"));
    }

    #[test]
    fn what_is_a_name_is_no_filter() {
        assert_eq!(filter(&[("username", is("a,b"))]), "username=a\\,b");
    }
}
