//! `/service/token`: what a token that somebody asks for says that it opens, and the endpoint's other answers.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, header};
use serde_json::Value;

use super::harbor::Right;
use super::house::{Answer, Asked, House, request};
use super::report::Report;
use super::who::{EVERYBODY, Login, Place, Who};

/// How a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `GET`, with Basic if there are credentials.
    Get,
    /// `POST` of a password.
    Password,
    /// `POST` of a refresh token that was given out for the same.
    Refresh,
}

const ALL: [Way; 3] = [Way::Get, Way::Password, Way::Refresh];

/// Everything but letters and digits by its number.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    bytes.collect()
}

fn form(fields: &[(&str, &str)]) -> Asked {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let mut asked = request(&Method::POST, "/service/token", fields.join("&"));
    let kind = "application/x-www-form-urlencoded".parse().unwrap();
    asked.headers_mut().insert(header::CONTENT_TYPE, kind);
    asked
}

/// Asks for a token. Nothing if who asks has not what it takes to ask so.
async fn ask(house: &House, who: &Who, place: Place, way: Way, scope: &str) -> Option<Answer> {
    let login = house.login(who.login, place);
    let asked = match way {
        Way::Get => {
            let uri = format!("/service/token?service=berth&scope={}", encoded(scope));
            let mut asked = request(&Method::GET, &uri, "");
            House::with_basic(&mut asked, login);
            asked
        }
        Way::Password | Way::Refresh => {
            let (name, secret) = login?;
            form(&[
                ("grant_type", "password"),
                ("service", "berth"),
                ("client_id", "matrix"),
                ("access_type", "offline"),
                ("username", &name),
                ("password", &secret),
                ("scope", scope),
            ])
        }
    };
    let answer = house.ask(asked).await;
    if way != Way::Refresh || answer.status != 200 {
        return Some(answer);
    }
    let refresh = answer.json()["refresh_token"].as_str()?.to_owned();
    let asked = form(&[
        ("grant_type", "refresh_token"),
        ("service", "berth"),
        ("client_id", "matrix"),
        ("refresh_token", &refresh),
        ("scope", scope),
    ]);
    Some(house.ask(asked).await)
}

/// What a token says that it opens: names of repositories and of actions.
fn opens(answer: &Answer) -> BTreeSet<(String, String)> {
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let claims = token.split('.').nth(1).expect("three parts");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = claims["access"].as_array().unwrap().iter();
    let pairs = entries.flat_map(|entry| {
        let actions = entry["actions"].as_array().unwrap().iter();
        actions.map(move |action| (text(&entry["name"]), text(action)))
    });
    pairs.collect()
}

#[tokio::test]
async fn a_token_opens_what_the_table_says_and_asking_for_more_is_no_error() {
    let house = House::new(true).await;
    house.revoke().await;
    let mut report = Report::default();
    let rights: [Right; 3] = [
        ("repository", "pull"),
        ("repository", "push"),
        ("repository", "delete"),
    ];
    for who in EVERYBODY {
        for way in ALL {
            for place in Place::ALL {
                let name = format!("{}/{}", place.project(), who.repository);
                // A repository, a robot's `$` and all, and a list that only an account opens.
                for (scope, catalog) in [
                    (format!("repository:{name}:pull,push,delete"), false),
                    (format!("repository:{name}:*"), false),
                    (
                        format!("repository:{name}:pull,push,delete registry:catalog:*"),
                        true,
                    ),
                ] {
                    let what = format!("{way:?} of a token for {scope}");
                    let Some(answer) = ask(&house, who, place, way, &scope).await else {
                        // Who has no credentials has no password to send.
                        report.cell(&what, who.name, who.login, Login::Nobody);
                        continue;
                    };
                    let status = if who.alive { 200 } else { 401 };
                    report.cell(&what, who.name, status, answer.status.as_u16());
                    if answer.status != 200 {
                        continue;
                    }
                    let mut expected: BTreeSet<_> = rights
                        .into_iter()
                        .filter(|right| who.may(place, *right))
                        .map(|(_, action)| (name.clone(), action.to_owned()))
                        .collect();
                    if catalog && !who.is_anonymous() {
                        expected.insert(("catalog".to_owned(), "*".to_owned()));
                    }
                    let opens = opens(&answer);
                    for (_, action) in rights {
                        let open = opens.iter().any(|(_, its)| its == action);
                        report.let_in(&format!("{what}: {action}"), who.name, open);
                    }
                    report.cell(&what, who.name, expected, opens);
                }
            }
        }
    }
    report.close("/service/token");
}

#[tokio::test]
async fn whoever_asks_for_nothing_in_particular_must_say_who_they_are() {
    let house = House::new(true).await;
    house.revoke().await;
    let mut report = Report::default();
    for who in EVERYBODY {
        let ask = async |uri: &str, method: Method| {
            let mut asked = request(&method, uri, "");
            House::with_basic(&mut asked, house.login(who.login, Place::Private));
            house.ask(asked).await.status.as_u16()
        };
        let known = who.alive && !who.is_anonymous();
        for (uri, method, expected) in [
            ("/service/token", Method::GET, if known { 200 } else { 401 }),
            ("/service/token?service=other", Method::GET, 400),
            ("/service/token", Method::PUT, 405),
            ("/service/token", Method::DELETE, 405),
            ("/.well-known/jwks.json", Method::GET, 200),
            ("/.well-known/jwks.json", Method::POST, 405),
        ] {
            let what = format!("{method} {uri}");
            let status = ask(uri, method).await;
            report.cell(&what, who.name, expected, status);
            report.let_in(&what, who.name, status == 200);
        }
    }
    report.close("/service/token, without a scope");
}
