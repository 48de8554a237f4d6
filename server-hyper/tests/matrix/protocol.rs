//! `/v2`: every route and method, by everybody, with each kind of credentials.

mod rows;

use std::collections::BTreeSet;

use http::{Method, header};
use registry_core::Digest;
use registry_core::http::{Operation, OperationName, routes};

use super::house::{Answer, Asked, House, When, manifest, manifest_request, request};
use super::report::Report;
use super::who::{EVERYBODY, OUTSIDE, Place, SHARED, THEIRS, Who};

use rows::Needs::{Account, Known, Right as In};
use rows::{Change, NOWHERE, Needs, PULL, PUSH, ROWS, Row};

/// How credentials are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// Name and secret; nothing, if they have none.
    Basic,
    /// A token for all that could be needed.
    Token,
    /// One for no more than pulling.
    TokenToPull,
    /// One for another repository of the project.
    TokenForAnother,
    /// One for all, from before some lost what they had.
    TokenFromBefore,
    /// One for all that has run out.
    TokenFromLongAgo,
}

const SENT: [Sent; 6] = [
    Sent::Basic,
    Sent::Token,
    Sent::TokenToPull,
    Sent::TokenForAnother,
    Sent::TokenFromBefore,
    Sent::TokenFromLongAgo,
];

/// Whether it may be done by who asks, in whatever way they say who they are.
fn allowed(needs: Needs, who: &Who, place: Place, sent: Sent) -> bool {
    match needs {
        Known => who.alive && (!who.is_anonymous() || sent != Sent::Basic),
        Account => who.alive && !who.is_anonymous(),
        In(right) => who.may(place, right),
    }
}

/// What an operation must be answered with. The rules beside the table:
///
/// - credentials that prove nothing are 401, whatever is asked for;
/// - so is whatever anonymous may not have;
/// - who may pull from the repository is told that they may not do more, 403;
/// - to others it does not exist, 404, and so it is with what does not exist; a list of referrers is empty then (end-12);
/// - a token opens what it names and no more: what it does not name is 401, and so is what it does not open though its holder
///   might have it; what its holder may not have is refused as without a token.
fn expected(row: &Row, who: &Who, place: Place, sent: Sent) -> u16 {
    let (_, operation, _, _, needs, success, change) = *row;
    if !who.alive || sent == Sent::TokenFromLongAgo {
        return 401;
    }
    let allowed = allowed(needs, who, place, sent);
    let named = match sent {
        Sent::TokenForAnother => needs == Known,
        Sent::TokenToPull => needs != Account,
        _ => true,
    };
    let opened = sent != Sent::TokenToPull || matches!(needs, Known | In(PULL));
    if !named || allowed && !opened {
        return 401;
    }
    if allowed {
        return match change {
            Change::Mounts(source) if !mounts(source, who) => 202,
            _ => success,
        };
    }
    if who.is_anonymous() {
        return 401;
    }
    if who.may(place, PULL) {
        return 403;
    }
    match operation {
        "list_referrers" => 200,
        _ => 404,
    }
}

/// Whether who may push mounts what is in this project.
fn mounts(source: Option<&str>, who: &Who) -> bool {
    match source {
        Some(SHARED) => true,
        Some(THEIRS) => who.of_theirs,
        _ => false,
    }
}

/// Whether a refusal must be the same for what is private and what is missing: not to somebody who may see the one, nor to
/// whoever may make projects and so find out by a push.
fn may_not_know(row: &Row, who: &Who, users_create_projects: bool) -> bool {
    let pushes = row.4 == In(PUSH);
    !who.may(Place::Private, PULL)
        && matches!(row.4, In(_))
        && !(pushes && who.creates_projects(users_create_projects))
}

/// What varies in a cell.
struct Cell<'a> {
    row: &'a Row,
    name: String,
    number: u64,
    upload: String,
}

impl<'a> Cell<'a> {
    /// Makes what must be there.
    async fn prepare(house: &House, row: &'a Row, who: &Who, place: Place) -> Self {
        let mut cell = Cell {
            row,
            name: format!("{}/{}", place.project(), who.repository),
            number: house.draw(),
            upload: String::new(),
        };
        if row.3.contains("{upload}") {
            cell.upload = house.begin_upload(&cell.name).await;
        }
        match row.6 {
            Change::BlobGoes => {
                house.put_blob(&cell.name, &cell.blob()).await;
            }
            Change::ManifestGoes => {
                house
                    .put_manifest(&cell.manifest_path(), &manifest(cell.number))
                    .await
            }
            Change::TagGoes => house.put_manifest(&cell.tag_path(), &manifest(cell.number)).await,
            Change::Mounts(Some(project)) => {
                house.put_blob(&format!("{project}/base"), &cell.blob()).await;
            }
            Change::None
            | Change::BlobComes
            | Change::ManifestComes
            | Change::TagComes
            | Change::Mounts(None) => {}
        }
        cell
    }

    fn blob(&self) -> Vec<u8> {
        format!("blob {}", self.number).into_bytes()
    }

    fn blob_path(&self) -> String {
        format!("/v2/{}/blobs/{}", self.name, Digest::sha256(&self.blob()))
    }

    fn manifest_path(&self) -> String {
        let digest = Digest::sha256(manifest(self.number).as_bytes());
        format!("/v2/{}/manifests/{digest}", self.name)
    }

    fn tag_path(&self) -> String {
        format!("/v2/{}/manifests/t{}", self.name, self.number)
    }

    fn request(&self) -> Asked {
        let (_, operation, method, path, ..) = self.row;
        let path = path
            .replace("{name}", &self.name)
            .replace("{blob}", &Digest::sha256(&self.blob()).to_string())
            .replace("{config}", &Digest::sha256(b"{}").to_string())
            .replace("{known}", &Digest::sha256(manifest(0).as_bytes()).to_string())
            .replace(
                "{manifest}",
                &Digest::sha256(manifest(self.number).as_bytes()).to_string(),
            )
            .replace("{upload}", &self.upload)
            .replace("{n}", &self.number.to_string());
        match *operation {
            "put_manifest" => manifest_request(&path, &manifest(self.number)),
            "push_blob" | "append_upload" | "finish_upload" => {
                request(&method.parse().unwrap(), &path, self.blob())
            }
            _ => request(&method.parse().unwrap(), &path, ""),
        }
    }

    /// Whether what the operation would change is changed.
    async fn changed(&self, house: &House) -> Option<bool> {
        Some(match self.row.6 {
            Change::None => return None,
            Change::BlobGoes => !house.is_there(&self.blob_path()).await,
            Change::ManifestGoes => !house.is_there(&self.manifest_path()).await,
            Change::TagGoes => !house.is_there(&self.tag_path()).await,
            Change::BlobComes | Change::Mounts(_) => house.is_there(&self.blob_path()).await,
            Change::ManifestComes => house.is_there(&self.manifest_path()).await,
            Change::TagComes => house.is_there(&self.tag_path()).await,
        })
    }

    /// What an answer reveals beside what varies anyway.
    fn revealed(&self, answer: &Answer) -> String {
        let mut headers: Vec<String> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id")
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let text = format!("{}\n{}\n{}", answer.status, headers.join("\n"), answer.body);
        let number = self.number.to_string();
        text.replace(&self.name, "{name}")
            .replace(&self.name.replace('/', "%2F"), "{name}")
            .replace(&Digest::sha256(&self.blob()).to_string(), "{blob}")
            .replace(
                &Digest::sha256(manifest(self.number).as_bytes()).to_string(),
                "{manifest}",
            )
            .replace(&format!("t{number}"), "t{n}")
            .replace(&self.upload, if self.upload.is_empty() { "" } else { "{upload}" })
    }
}

/// The token that is sent, if credentials are sent so and one is to be had.
async fn token(house: &House, who: &Who, place: Place, sent: Sent) -> Option<String> {
    let (project, repository) = (place.project(), who.repository);
    let all: Vec<String> = [
        format!("repository:{project}/{repository}:pull,push,delete"),
        format!("repository:{SHARED}/base:pull"),
        format!("repository:{THEIRS}/base:pull"),
        format!("repository:{NOWHERE}/base:pull"),
        "registry:catalog:*".to_owned(),
    ]
    .into();
    let (when, scopes) = match sent {
        Sent::Basic => return None,
        Sent::Token => (When::Now, all),
        Sent::TokenToPull => (When::Now, vec![format!("repository:{project}/{repository}:pull")]),
        Sent::TokenForAnother => {
            let another = if repository == OUTSIDE { "app" } else { OUTSIDE };
            (
                When::Now,
                vec![format!("repository:{project}/{another}:pull,push,delete")],
            )
        }
        Sent::TokenFromBefore => (When::Before, all),
        Sent::TokenFromLongAgo => (When::LongAgo, all),
    };
    house.token(house.login(who.login, place), when, &scopes).await
}

/// Asks, and gives nothing if there are no credentials of the kind that is to be sent.
async fn ask(house: &House, cell: &Cell<'_>, who: &Who, place: Place, sent: Sent) -> Option<Answer> {
    let mut asked = cell.request();
    match sent {
        Sent::Basic => House::with_basic(&mut asked, house.login(who.login, place)),
        _ => {
            let bearer = format!("Bearer {}", token(house, who, place, sent).await?);
            asked
                .headers_mut()
                .insert(header::AUTHORIZATION, bearer.parse().unwrap());
        }
    }
    Some(house.ask(asked).await)
}

async fn matrix(users_create_projects: bool) {
    let house = House::new(users_create_projects).await;
    let mut report = Report::default();
    // Those that are needed from before everything changes.
    for sent in [Sent::TokenFromBefore, Sent::TokenFromLongAgo] {
        for (who, place) in EVERYBODY
            .iter()
            .flat_map(|who| Place::ALL.map(|place| (who, place)))
        {
            let given = token(&house, who, place, sent).await.is_some();
            let what = format!("{sent:?} about {place:?}");
            report.cell(&what, who.name, who.name != "wrong password", given);
        }
    }
    house.revoke().await;
    for row in ROWS {
        for who in EVERYBODY {
            for sent in SENT {
                let mut revealed = Vec::new();
                for place in Place::ALL {
                    let cell = Cell::prepare(&house, row, who, place).await;
                    let what = format!("{} in what is {place:?}, with {sent:?}", row.0);
                    let expected = expected(row, who, place, sent);
                    let Some(answer) = ask(&house, &cell, who, place, sent).await else {
                        // Whose credentials prove nothing gets no token.
                        report.cell(&what, who.name, who.alive, false);
                        continue;
                    };
                    report.cell(&what, who.name, expected, answer.status.as_u16());
                    report.let_in(&what, who.name, answer.status.is_success());
                    let done = match row.6 {
                        Change::Mounts(_) => expected == 201,
                        _ => expected == row.5,
                    };
                    if let Some(changed) = cell.changed(&house).await {
                        report.cell(&format!("{what}: changed"), who.name, done, changed);
                    }
                    if place != Place::Public && may_not_know(row, who, users_create_projects) {
                        revealed.push(cell.revealed(&answer));
                    }
                }
                if let [private, missing] = &revealed[..] {
                    let what = format!("{} with {sent:?}: private as missing", row.0);
                    report.cell(&what, who.name, missing, private);
                }
            }
        }
    }
    report.close("/v2");
}

#[tokio::test]
async fn everybody_may_do_by_the_protocol_what_the_table_says() {
    matrix(true).await;
}

#[tokio::test]
async fn nobody_learns_which_projects_there_are_where_users_make_none() {
    matrix(false).await;
}

/// The list shows to each what they may pull from: as the table has it, for it is what they may `list`.
#[tokio::test]
async fn the_catalog_shows_to_each_what_they_may_pull() {
    let house = House::new(true).await;
    house.revoke().await;
    let mut report = Report::default();
    for who in EVERYBODY.iter().filter(|who| who.alive && !who.is_anonymous()) {
        for sent in [Sent::Basic, Sent::Token] {
            // A robot of a project is a different one in each.
            for home in [Place::Public, Place::Private] {
                let row = ROWS.iter().find(|row| row.0 == "catalog").unwrap();
                let cell = Cell::prepare(&house, row, who, home).await;
                let answer = ask(&house, &cell, who, home, sent).await.unwrap().json();
                let shown: BTreeSet<&str> = answer["repositories"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| name.as_str().unwrap())
                    .collect();
                let what = format!("catalog with {sent:?} from {home:?}");
                for (name, may) in [
                    ("opened/app", true),
                    ("opened/other", true),
                    ("closed/app", sees(who, home, "app")),
                    ("closed/other", sees(who, home, "other")),
                    ("shared/base", true),
                    ("theirs/base", who.of_theirs),
                ] {
                    let shows = shown.contains(name);
                    report.cell(&format!("{what}: {name}"), who.name, may, shows);
                    report.let_in(&format!("{what}: {name}"), who.name, shows);
                }
            }
        }
    }
    report.close("catalog");
}

/// Whether somebody may pull from a repository of the private project, with credentials that are used where `home` is.
fn sees(who: &Who, home: Place, repository: &str) -> bool {
    let of_project = matches!(who.login, super::who::Login::OfProject(_));
    if who.by_pattern {
        return repository == super::who::INSIDE;
    }
    who.may(Place::Private, PULL) && !(of_project && home == Place::Public)
}

/// A name that means something in one repository means nothing in another, whoever asks (CVE-2026-32589): uploads, and what could be
/// deleted.
#[tokio::test]
async fn what_is_in_another_repository_is_not_there() {
    let house = House::new(true).await;
    house.revoke().await;
    let mut report = Report::default();
    let goes = [Change::BlobGoes, Change::ManifestGoes, Change::TagGoes];
    for row in ROWS
        .iter()
        .filter(|row| row.3.contains("{upload}") || goes.contains(&row.6))
    {
        let In(right) = row.4 else {
            panic!("{} needs no right", row.0)
        };
        for who in EVERYBODY.iter().filter(|who| who.may(Place::Private, PULL)) {
            for (place, other) in [(Place::Public, Place::Private), (Place::Private, Place::Public)] {
                let mut cell = Cell::prepare(&house, row, who, other).await;
                let there =
                    std::mem::replace(&mut cell.name, format!("{}/{}", place.project(), who.repository));
                let answer = ask(&house, &cell, who, place, Sent::Basic).await.unwrap();
                let expected = if who.may(place, right) { 404 } else { 403 };
                let what = format!("{} of {other:?} in what is {place:?}", row.0);
                report.cell(&what, who.name, expected, answer.status.as_u16());
                report.let_in(&what, who.name, answer.status.is_success());
                cell.name = there;
                let is_there = match row.6 {
                    Change::None | Change::BlobComes => {
                        let path = format!("/v2/{}/blobs/uploads/{}", cell.name, cell.upload);
                        house.behind(request(&Method::GET, &path, "")).await.status == 204
                    }
                    _ => cell.changed(&house).await == Some(false),
                };
                report.cell(&format!("{what}: is still there"), who.name, true, is_there);
            }
        }
    }
    report.close("/v2, what is in another repository");
}

#[test]
fn every_operation_and_route_of_the_protocol_has_a_row() {
    let rows: BTreeSet<OperationName> = ROWS.iter().map(|row| OperationName(row.1)).collect();
    let all: BTreeSet<OperationName> = OperationName::ALL.iter().copied().collect();
    assert_eq!(rows, all, "operations without a row, or rows without one");

    // Each row is the operation that it says, and of a route that there is.
    let of_row = |row: &Row| {
        let digest = Digest::sha256(b"");
        let path = row.3.replace("{name}", "a/b").replace("{n}", "1");
        let path = ["{blob}", "{config}", "{known}", "{manifest}"]
            .iter()
            .fold(path, |path, what| path.replace(what, &digest.to_string()));
        let path = path.replace("{upload}", "00000000-0000-4000-8000-000000000000");
        let method: Method = row.2.parse().unwrap();
        let operation = Operation::parse(&method, &path.parse().unwrap(), &Default::default());
        assert_eq!(operation.unwrap().name(), OperationName(row.1), "{}", row.0);
        let (template, _) = row.3.split_once('?').unwrap_or((row.3, ""));
        let (head, last) = template.rsplit_once('/').unwrap();
        let template = match head.rsplit('/').next() {
            Some("blobs") if last != "uploads" => format!("{head}/{{digest}}"),
            Some("uploads") if !last.is_empty() => format!("{head}/{{id}}"),
            Some("manifests") => format!("{head}/{{reference}}"),
            Some("referrers") => format!("{head}/{{digest}}"),
            _ => template.to_owned(),
        };
        (method.to_string(), template)
    };
    let rows: BTreeSet<_> = ROWS.iter().map(of_row).collect();
    let all: BTreeSet<_> = routes()
        .map(|(method, path)| (method.to_string(), path.to_owned()))
        .collect();
    assert_eq!(rows, all, "routes without a row, or rows without one");
}
