//! `/api/v2.0`: every operation, by everybody.

mod rows;

use std::collections::BTreeSet;

use http::{Method, header};
use registry_auth::roles::Role;
use registry_auth::{Grantee, GroupKind, NewGroup, NewRobot, NewToken, Permission};
use registry_harbor::{BASE, Operation, operations};
use serde_json::Value;

use super::harbor::Column;
use super::house::{Answer, Asked, House, When, request};
use super::people::PASSWORD;
use super::report::Report;
use super::who::{EVERYBODY, Login, Place, Who};

use rows::About::{Another, Self_};
use rows::Needs::{
    Admin, Anyone, Asks, Creates, Grants, InPerson, Login as LoggedIn, Never, Nothing, Own, Project,
    ProjectAdmin, System, User, UserOr,
};
use rows::{ROWS, Row};

/// How somebody says who they are, and how a project is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    BasicByName,
    BasicById,
    /// With a token for repositories.
    Token,
}

/// The id of nothing.
const NO_ID: u64 = 987_654_321;

/// What an operation must be answered with. The rules: credentials that prove nothing are 401, and so is a token, which opens no
/// management; anonymous may log in, 401; others may not, 403; and that there is no project is told to administrators, 404.
fn expected(row: &Row, who: &Who, place: Place, sent: Sent, users_create: bool) -> u16 {
    let (_, _, needs, _, _, success) = *row;
    if needs == Nothing {
        return success;
    }
    if !who.alive || sent == Sent::Token {
        return 401;
    }
    let admin = who.is_admin();
    let boss = who.holds == super::who::Holds::Role(Column::Admin);
    let own = who.is_whole();
    let person = own && matches!(who.login, Login::User(_));
    let (may, project) = match needs {
        Nothing | Anyone => (true, false),
        LoggedIn | User | Asks => (!who.is_anonymous(), false),
        UserOr(right) => (who.is_whole() || who.may_system(right), false),
        Admin => (admin, false),
        // The other tenant is admin of a project too.
        ProjectAdmin => (admin || own && (boss || who.of_theirs), false),
        System(right) => (who.may_system(right), false),
        Creates => (who.creates_projects(users_create), false),
        Project(right) => (who.may_in_project(place, right), true),
        Grants(right, role) => {
            let mut rights = role.rights().chain([right]);
            (rights.all(|right| who.may_in_project(place, right)), true)
        }
        Own => (own, false),
        InPerson => (person, false),
        Never => (false, false),
    };
    match (may, needs) {
        (true, User) if !own => 412,
        (true, Asks) => {
            let there = place != Place::Missing;
            let knows = who.knows_of(place) || who.creates_projects(users_create);
            if there && knows { 200 } else { 404 }
        }
        (true, _) => success,
        (false, _) if who.is_anonymous() => 401,
        (false, _) if project && place == Place::Missing && admin => 404,
        (false, _) => 403,
    }
}

/// What varies in a cell.
struct Cell<'a> {
    row: &'a Row,
    operation: &'static Operation,
    place: Place,
    project_id: u64,
    number: u64,
    user: u64,
    /// Whom the path names.
    about: u64,
    path: String,
}

fn operation(id: &str) -> &'static Operation {
    let found = operations().iter().find(|operation| operation.id == id);
    found.unwrap_or_else(|| panic!("{id} is no operation"))
}

/// The project in which a thing is that is asked about where there is none.
fn home(place: Place) -> Place {
    match place {
        Place::Public => Place::Public,
        Place::Private | Place::Missing => Place::Private,
    }
}

async fn project_id(house: &House, place: Place) -> u64 {
    match place {
        Place::Missing => NO_ID,
        _ => house.tenants.projects.named(place.project()).await.unwrap().id,
    }
}

async fn new_member(house: &House, place: Place) -> u64 {
    let (project, user) = (project_id(house, home(place)).await, house.new_user().await);
    let projects = &house.tenants.projects;
    let added = projects.add_member(project, Grantee::User(user), Role::Guest, None);
    added.await.unwrap().id
}

async fn new_robot(house: &House, place: Place) -> u64 {
    let name = home(place).project();
    let new = NewRobot {
        name: format!("target{}", house.draw()),
        description: String::new(),
        project: Some(name.to_owned()),
        permissions: vec![Permission::project(name, &[("repository", "pull")])],
        duration: -1,
    };
    let made = house.tenants.accounts.create_robot("boss", new).await;
    made.unwrap().0.id
}

async fn new_token(house: &House, user: u64) -> u64 {
    let new = NewToken {
        name: format!("target{}", house.draw()),
        description: String::new(),
        permissions: None,
        expires: None,
    };
    match house.tenants.accounts.create_token(user, new).await {
        Ok((row, _)) => row.id,
        // Of a user who is gone.
        Err(_) => NO_ID,
    }
}

async fn new_group(house: &House) -> u64 {
    let new = NewGroup {
        name: format!("target{}", house.draw()),
        kind: GroupKind::Http,
        ldap_dn: String::new(),
    };
    house.tenants.accounts.create_group(new).await.unwrap().id
}

/// The user who asks, or whoever is behind.
fn user_behind(house: &House, who: &Who) -> u64 {
    match who.login {
        Login::User(name) | Login::Token(name, _) => house.id(name),
        Login::Robot(_) | Login::Nobody => house.id("admin"),
        Login::OfProject(_) => house.id("boss"),
        Login::OfOthers(_) => house.id("mallory"),
    }
}

impl<'a> Cell<'a> {
    async fn prepare(house: &House, row: &'a Row, who: &Who, place: Place, sent: Sent) -> Self {
        let operation = operation(row.0);
        let project_id = project_id(house, place).await;
        let needs_user = row.4.contains("{user}") || operation.path.contains("{user_id}") && row.1 == Another;
        let user = if needs_user { house.new_user().await } else { NO_ID };
        let about = match row.1 {
            Self_ => user_behind(house, who),
            Another => user,
        };
        let mut path = format!("{BASE}{}", operation.path);
        for part in parts(operation.path) {
            let id = match part {
                "project_name_or_id" if sent == Sent::BasicById => project_id.to_string(),
                "project_name_or_id" => place.project().to_owned(),
                "user_id" => about.to_string(),
                "mid" => new_member(house, place).await.to_string(),
                "token_id" => new_token(house, about).await.to_string(),
                "group_id" => new_group(house).await.to_string(),
                "robot_id" if place == Place::Missing => NO_ID.to_string(),
                "robot_id" => new_robot(house, place).await.to_string(),
                other => panic!("nobody knows what {other} is in {}", operation.path),
            };
            path = path.replace(&format!("{{{part}}}"), &id);
        }
        Cell {
            row,
            operation,
            place,
            project_id,
            number: house.draw(),
            user,
            about,
            path,
        }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{n}", &self.number.to_string())
            .replace("{project}", self.place.project())
            .replace("{project_id}", &self.project_id.to_string())
            .replace("{user}", &self.user.to_string())
    }

    fn request(&self) -> Asked {
        let query = match self.row.3 {
            "" => String::new(),
            query => format!("?{}", self.filled(query)),
        };
        let method: Method = self.operation.method.parse().unwrap();
        let uri = format!("{}{query}", self.path);
        let mut asked = request(&method, &uri, self.filled(self.row.4));
        if !self.row.4.is_empty() {
            let json = "application/json".parse().unwrap();
            asked.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        asked
    }

    /// What an answer reveals beside what the caller has said.
    fn revealed(&self, answer: &Answer) -> String {
        let mut headers: Vec<String> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id" && *name != "content-length")
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let mut body = answer.body.replace(self.place.project(), "{project}");
        for part in self.path.split('/').filter(|part| part.parse::<u64>().is_ok()) {
            body = without_number(&body, part);
        }
        body = without_number(&body, &self.project_id.to_string());
        format!("{}\n{}\n{body}", answer.status, headers.join("\n"))
    }
}

/// A text with something else for a number, where that stands alone.
fn without_number(text: &str, number: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(number) {
        let (before, after) = (&rest[..at], &rest[at + number.len()..]);
        out.push_str(before);
        let alone = !is_part(out.chars().next_back()) && !is_part(after.chars().next());
        out.push_str(if alone { "{id}" } else { number });
        rest = after;
    }
    out + rest
}

/// What is in braces.
fn parts(path: &'static str) -> Vec<&'static str> {
    let inside = path.split('{').skip(1);
    inside
        .map(|rest| rest.split_once('}').expect("closed").0)
        .collect()
}

async fn ask(house: &House, cell: &Cell<'_>, who: &Who, sent: Sent) -> Option<Answer> {
    let mut asked = cell.request();
    let login = house.login(who.login, cell.place);
    match sent {
        Sent::BasicByName | Sent::BasicById => House::with_basic(&mut asked, login),
        Sent::Token => {
            let scope = "repository:opened/app:pull,push,delete".to_owned();
            let token = house.token(login, When::Now, &[scope]).await?;
            let bearer = format!("Bearer {token}").parse().unwrap();
            asked.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
    }
    Some(house.ask(asked).await)
}

/// What an answer must show beside its status.
fn shows(row: &Row, who: &Who, cell: &Cell<'_>, answer: &Answer) -> Option<(Value, Value)> {
    if answer.status != 200 {
        return None;
    }
    let sorted = |names: BTreeSet<String>| names.into_iter().collect::<Value>();
    match row.0 {
        // Exactly what the table has.
        "getCurrentUserPermissions" => {
            let place = cell.place;
            let all = Column::Admin.rights();
            let held = all.filter(|right| match right.0 {
                // Beyond looking at it, a role on a pattern is none in the project.
                _ if who.by_pattern => place == Place::Public && Column::Public.may(*right),
                _ => who.may(place, *right),
            });
            let scope = cell.filled("/project/{project_id}");
            let held = held.map(|(resource, action)| format!("{scope}/{resource}:{action}"));
            let shown = answer.json();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let shown = shown
                .as_array()?
                .iter()
                .map(|one| format!("{}:{}", text(&one["resource"]), text(&one["action"])));
            Some((sorted(held.collect()), sorted(shown.collect())))
        }
        "listProjects" => {
            let of_project = matches!(who.login, Login::OfProject(_));
            let known = [Place::Public, Place::Private].into_iter().filter(|place| {
                // A robot of the public project knows nothing of the private one.
                who.knows_of(*place)
                    && !(of_project && *place == Place::Private && home(cell.place) == Place::Public)
            });
            let known = known.map(|place| place.project().to_owned());
            let theirs = (who.of_theirs && who.alive).then(|| super::who::THEIRS.to_owned());
            let shared = [super::who::SHARED.to_owned()];
            let shown = answer.json();
            let shown = shown.as_array()?.iter();
            let shown = shown.map(|one| one["name"].as_str().unwrap_or_default().to_owned());
            let shown = shown.filter(|name| !name.starts_with("made"));
            Some((
                sorted(known.chain(theirs).chain(shared).collect()),
                sorted(shown.collect()),
            ))
        }
        "getSystemInfo" => Some((
            (!who.is_anonymous()).into(),
            answer.json().get("harbor_version").is_some().into(),
        )),
        _ => None,
    }
}

async fn matrix(users_create_projects: bool) {
    let house = House::new(users_create_projects).await;
    house.revoke().await;
    let mut report = Report::default();
    for row in ROWS {
        let of_project = |text: &str| text.contains("{project") || text.contains("{robot_id");
        let has_place = of_project(operation(row.0).path) || of_project(row.3) || of_project(row.4);
        // Robots of projects have another home in each.
        let places: &[Place] = match has_place {
            true => &Place::ALL,
            false => &[Place::Public, Place::Private],
        };
        let by_id = operation(row.0).path.contains("{project_name_or_id}");
        for who in EVERYBODY {
            for sent in [Sent::BasicByName, Sent::BasicById, Sent::Token] {
                if sent == Sent::BasicById && !by_id {
                    continue;
                }
                let mut revealed = Vec::new();
                for place in places.iter().copied() {
                    let cell = Cell::prepare(&house, row, who, place, sent).await;
                    let what = format!("{} {:?} {:?} in what is {place:?}, {sent:?}", row.0, row.1, row.2);
                    let before = house.mark().await;
                    let Some(answer) = ask(&house, &cell, who, sent).await else {
                        report.cell(&what, who.name, who.alive, false);
                        continue;
                    };
                    let expected = expected(row, who, place, sent, users_create_projects);
                    report.cell(&what, who.name, expected, answer.status.as_u16());
                    // What is one's own is not more for who may more.
                    if !matches!(row.2, Own | InPerson | User) {
                        let status = answer.status.as_u16();
                        report.let_in(&what, who.name, status < 400 || status == row.5);
                    }
                    let writes = !matches!(cell.operation.method, "GET" | "HEAD");
                    let changes = writes && (200..300).contains(&expected);
                    let changed = house.mark().await != before;
                    report.cell(&format!("{what}: changed"), who.name, changes, changed);
                    if row.0 == "updateUserPassword" && answer.status == 200 && row.1 == Self_ {
                        house.restore_password(cell.about).await;
                    }
                    if let Some((should, is)) = shows(row, who, &cell, &answer) {
                        report.cell(&format!("{what}: shows"), who.name, should, is);
                    }
                    let may_know = who.knows_of(Place::Private)
                        || row.2 == Asks && who.creates_projects(users_create_projects);
                    if place != Place::Public && has_place && !may_know {
                        revealed.push(cell.revealed(&answer));
                    }
                }
                if let [private, missing] = &revealed[..] {
                    let what = format!("{} {:?} with {sent:?}: private as missing", row.0, row.2);
                    report.cell(&what, who.name, missing, private);
                }
            }
        }
    }
    report.close("/api/v2.0");
}

#[tokio::test]
async fn everybody_may_manage_what_the_table_says() {
    matrix(true).await;
}

#[tokio::test]
async fn everybody_may_manage_what_the_table_says_where_users_make_no_projects() {
    matrix(false).await;
}

#[test]
fn every_operation_of_the_api_has_a_row() {
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.0).collect();
    let all: BTreeSet<&str> = operations().iter().map(|operation| operation.id).collect();
    assert_eq!(rows, all, "operations without a row, or rows without one");
    assert_eq!(PASSWORD, "Correct-Horse-1", "the rows have it in them");
}

/// An operation that names two things takes only those that belong together (CVE-2022-31667 and others): for each of which the path
/// has two parts, a thing of one project or user under another, by somebody who may in both.
#[tokio::test]
async fn what_belongs_to_another_is_not_there() {
    let house = House::new(true).await;
    let mut report = Report::default();
    for row in ROWS {
        let operation = operation(row.0);
        let parts = parts(operation.path);
        if parts.len() < 2 {
            continue;
        }
        let [outer, inner] = parts[..] else {
            panic!("{} names three things", operation.path);
        };
        for (who, login) in [
            ("project admin", "boss"),
            ("administrator", "admin"),
            ("user of another tenant", "mallory"),
        ] {
            for (place, other) in [(Place::Public, Place::Private), (Place::Private, Place::Public)] {
                let me = house.id(login);
                let (outer_id, inner_id) = match (outer, inner) {
                    ("project_name_or_id", "mid") => {
                        (place.project().to_owned(), new_member(&house, other).await)
                    }
                    ("user_id", "token_id") => {
                        let another = house.new_user().await;
                        (me.to_string(), new_token(&house, another).await)
                    }
                    _ => panic!("nobody knows how {outer} has {inner}"),
                };
                let path = operation
                    .path
                    .replace(&format!("{{{outer}}}"), &outer_id)
                    .replace(&format!("{{{inner}}}"), &inner_id.to_string());
                let body = row.4.replace("{n}", "1");
                let mut asked = request(&operation.method.parse().unwrap(), &format!("{BASE}{path}"), body);
                let json = "application/json".parse().unwrap();
                asked.headers_mut().insert(header::CONTENT_TYPE, json);
                House::with_basic(&mut asked, house.login(Login::User(login), place));
                let before = house.mark().await;
                let answer = house.ask(asked).await;
                let may = outer == "user_id" || who != "user of another tenant";
                let expected = if may { 404 } else { 403 };
                let what = format!("{} {:?}: {inner} of {other:?}", row.0, row.1);
                report.cell(&what, who, expected, answer.status.as_u16());
                report.cell(
                    &format!("{what}: changed"),
                    who,
                    false,
                    house.mark().await != before,
                );
                report.let_in(&what, who, answer.status.is_success());
            }
        }
    }
    report.close("/api/v2.0, what belongs to another");
}
