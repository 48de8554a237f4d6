//! CVE-2026-32589 and CVE-2023-2253: uploads of others, and lists that are asked for whole.

use registry_core::Digest;

use super::house::{House, Who};

#[test]
fn cve_2026_32589_an_upload_is_nobody_elses_and_of_no_other_repository() {
    let house = House::new();
    let (alice, mallory) = (house.user("alice"), house.user("mallory"));
    house.project("team", alice);
    house.project("own", mallory);
    let location = house.begin(Who::User("alice"), "team/app");
    house.ask(Who::User("alice"), "PATCH", &location, "abc").is(202);
    let digest = Digest::sha256(b"abc");
    let everything = "repository:team/app:pull,push,delete repository:own/app:pull,push,delete";
    let of_mallory = house.token(Who::User("mallory"), everything);
    let of_alice_elsewhere = house.token(Who::User("alice"), "repository:team/other:pull,push,delete");
    let moved = |to: &str| location.replace("/team/app/", to);
    for (method, query) in [
        ("GET", String::new()),
        ("PATCH", String::new()),
        ("PUT", format!("?digest={digest}")),
        ("DELETE", String::new()),
    ] {
        let at = |location: &str| format!("{location}{query}");
        let ask = |who, location: &str| house.ask(who, method, &at(location), "");
        for who in [Who::User("mallory"), Who::Bearer(&of_mallory)] {
            assert_eq!(ask(who, &location).is(404).code(), "NAME_UNKNOWN");
            let moved = ask(who, &moved("/own/app/")).is(404);
            assert_eq!(moved.code(), "BLOB_UPLOAD_UNKNOWN");
        }
        ask(Who::Nobody, &location).is(401);
        // Its owner, and still elsewhere.
        let moved = ask(Who::User("alice"), &moved("/team/other/")).is(404);
        assert_eq!(moved.code(), "BLOB_UPLOAD_UNKNOWN");
        ask(Who::Bearer(&of_alice_elsewhere), &location).is(401);
    }
    let finished = format!("{location}?digest={digest}");
    house.ask(Who::User("alice"), "PUT", &finished, "").is(201);
    let blob = format!("/v2/team/app/blobs/{digest}");
    assert_eq!(house.get(Who::User("alice"), &blob).is(200).body, "abc");
}

#[test]
fn cve_2023_2253_a_catalog_of_two_to_the_thirty_first_shows_a_page_of_what_one_may_see() {
    let house = House::new();
    let (alice, mallory) = (house.user("alice"), house.user("mallory"));
    house.project("team", alice);
    house.project("own", mallory);
    for number in 0..8 {
        house.push_image(Who::User("alice"), &format!("team/app{number}"), "latest");
    }
    house.push_image(Who::User("mallory"), "own/app", "latest");
    let token = |who| house.token(who, "registry:catalog:*");
    let (of_alice, of_mallory) = (token(Who::User("alice")), token(Who::User("mallory")));
    for n in ["2147483648", "18446744073709551616", "99999999999999999999999999"] {
        let target = format!("/v2/_catalog?n={n}");
        let listed = |who| house.get(who, &target).is(200).json()["repositories"].clone();
        for who in [Who::User("alice"), Who::Bearer(&of_alice)] {
            let page = listed(who);
            let page = page.as_array().unwrap();
            assert_eq!(page.len(), 5, "the most that a page has here");
            assert!(
                page.iter()
                    .all(|name| name.as_str().unwrap().starts_with("team/"))
            );
        }
        for who in [Who::User("mallory"), Who::Bearer(&of_mallory)] {
            assert_eq!(listed(who), serde_json::json!(["own/app"]));
        }
        house.get(Who::Nobody, &target).is(401);
        // A token for something else opens no list.
        let other = house.token(Who::User("alice"), "repository:team/app0:pull");
        house.get(Who::Bearer(&other), &target).is(401);
    }
}
