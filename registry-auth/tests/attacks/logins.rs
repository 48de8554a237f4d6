//! CVE-2023-20902 and CVE-2026-4404: what a refused login tells, and which password opens a registry that nobody has set up.

use std::sync::Arc;

use async_trait::async_trait;
use futures_executor::block_on;
use http::Request;
use http_body_util::Full;
use registry_auth::secret::Secret;
use registry_auth::{ADMIN, Directory, NewRobot, Permission, Settings, Verified};
use registry_core::Result;

use super::house::{Answer, House, PASSWORD, Who, request, token_path};
use super::same_time::{assert_same_time, assert_told_apart};

const SCOPE: &str = "repository:team/app:pull";

/// A way to try a name and a secret.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With the request itself.
    Basic,
    /// For a token.
    Token,
    /// For a token, in a form.
    Form,
}

const WAYS: [Way; 3] = [Way::Basic, Way::Token, Way::Form];

fn tries(house: &House, way: Way, name: &str, secret: &str) -> Answer {
    let who = Who::Basic(name, secret);
    match way {
        Way::Basic => house.get(who, "/v2/"),
        Way::Token => house.get(who, &token_path(SCOPE)),
        Way::Form => {
            let form = format!(
                "grant_type=password&client_id=x&service=berth&scope={SCOPE}&username={}&password={secret}",
                name.replace('$', "%24").replace('+', "%2B").replace('#', "%23"),
            );
            let request = request(Who::Nobody, "POST", "/service/token", form);
            let (mut head, body) = request.into_parts();
            head.headers.insert(
                "content-type",
                "application/x-www-form-urlencoded".parse().unwrap(),
            );
            block_on(house.exchange(Request::<Full<_>>::from_parts(head, body)))
        }
    }
}

/// Alice, Bob who is disabled, and a robot of Alice's.
fn with_accounts(house: &House) {
    let alice = house.user("alice");
    house.project("team", alice);
    let bob = house.user("bobby");
    block_on(house.tenants.accounts.set_enabled(bob, false)).unwrap();
    let robot = NewRobot {
        name: "ci".to_owned(),
        description: String::new(),
        project: None,
        permissions: vec![Permission::project("team", &[("repository", "pull")])],
        duration: -1,
    };
    block_on(house.tenants.accounts.create_robot("admin", robot)).unwrap();
}

#[test]
fn cve_2023_20902_an_unknown_name_is_answered_as_a_wrong_password() {
    let house = House::new();
    with_accounts(&house);
    for way in WAYS {
        let known = tries(&house, way, "alice", "Wrong12345").is(401);
        for name in ["nobody", "bobby", "robot$ci", "robot$nobody", "alice#token", ""] {
            let unknown = tries(&house, way, name, "Wrong12345").is(401);
            let told = |answer: &Answer| answer.json()["errors"][0]["message"].clone();
            assert_eq!(told(&unknown), told(&known), "{way:?} {name}");
            assert_eq!(unknown.shape().1, known.shape().1, "{way:?} {name}");
        }
        // Somebody who may not log in with the right password is not told that it is right.
        let right = tries(&house, way, "bobby", PASSWORD).is(401);
        assert_eq!(right.code(), known.code());
        tries(&house, way, "alice", PASSWORD).is(200);
    }
}

#[test]
fn cve_2023_20902_an_unknown_name_takes_as_long_as_a_wrong_password() {
    let house = House::new();
    with_accounts(&house);
    for way in [Way::Basic, Way::Token] {
        // Another password each time, as whoever guesses would.
        let wrong = |name: &'static str| {
            let house = &house;
            move |number| drop(tries(house, way, name, &format!("Wrong{number:05}")).is(401))
        };
        for name in ["nobdy", "bobby"] {
            let what = format!("the name {name} by {way:?}");
            assert_same_time(&what, &mut wrong(name), &mut wrong("alice"));
        }
        let what = format!("a robot's name by {way:?}");
        assert_same_time(&what, &mut wrong("robot$no"), &mut wrong("robot$ci"));
    }
}

/// A directory that looks for the name first.
struct Hasty(Arc<dyn Directory>);

#[async_trait]
impl Directory for Hasty {
    async fn verify(&self, name: &str, secret: &str) -> Result<Option<Verified>> {
        match self.0.subject(name).await? {
            Some(_) => self.0.verify(name, secret).await,
            None => Ok(None),
        }
    }

    async fn subject(&self, name: &str) -> Result<Option<u64>> {
        self.0.subject(name).await
    }

    async fn project(&self, name: &str) -> Result<Option<u64>> {
        self.0.project(name).await
    }
}

#[test]
fn a_login_that_hashes_only_for_names_that_there_are_would_be_found_out() {
    let house = House::built(Settings::default(), |parts| {
        (parts.guarded(), Arc::new(Hasty(parts.directory())))
    });
    with_accounts(&house);
    let wrong = |name: &'static str| {
        let house = &house;
        move |_| drop(tries(house, Way::Token, name, "Wrong12345").is(401))
    };
    assert_told_apart("an unknown name", &mut wrong("nobdy"), &mut wrong("alice"));
}

#[test]
fn cve_2026_4404_no_password_opens_a_registry_that_nobody_has_set_up() {
    let house = House::unopened();
    let guesses = ["Harbor12345", "admin", "berth", "password", "changeme", ""];
    let nobody_gets_in = || {
        for (way, guess) in WAYS.iter().flat_map(|way| guesses.map(|guess| (*way, guess))) {
            for name in [ADMIN, "root", "berth", ""] {
                tries(&house, way, name, guess).is(401);
            }
        }
        house.get(Who::Nobody, "/v2/").is(401);
        house.get(Who::Nobody, "/v2/_catalog").is(401);
    };
    nobody_gets_in();
    let drawn: Secret = block_on(house.tenants.accounts.first_start(None))
        .unwrap()
        .unwrap();
    nobody_gets_in();
    for way in WAYS {
        tries(&house, way, ADMIN, drawn.reveal()).is(200);
    }
    // Nor is there one in what is shipped.
    let shipped = include_str!("../../../berth.example.toml");
    for line in shipped.lines().map(str::trim_start) {
        let is_set = line.split_once('=').is_some_and(|(key, _)| {
            let key = key.trim_start_matches('#').trim();
            key.ends_with("password") || key.ends_with("secret")
        });
        assert!(!is_set && !line.contains("Harbor12345"), "{line}");
    }
}
