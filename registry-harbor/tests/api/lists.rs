//! Pages, filters and orders.

use serde_json::json;

use super::house::House;

/// Administrator, and `u01` to `u24`.
fn crowd() -> House {
    let house = House::new();
    for n in 1..25 {
        house.user(&format!("u{n:02}"));
    }
    house
}

#[test]
fn a_page_says_how_many_there_are_and_where_the_others_are() {
    let house = crowd();
    let first = house.get("admin", "/users").is(200);
    assert_eq!(first.json().as_array().unwrap().len(), 10);
    assert_eq!(first.header("x-total-count"), "25");
    assert_eq!(
        first.header("link"),
        "</api/v2.0/users?page=2&page_size=10>; rel=\"next\""
    );
    let middle = house
        .get(
            "admin",
            "/users?page=2&page_size=5&sort=-username&q=username%3D~u",
        )
        .is(200);
    assert_eq!(middle.header("x-total-count"), "24");
    let rest = "sort=-username&q=username%3D%7Eu";
    let expected = format!(
        "</api/v2.0/users?{rest}&page=1&page_size=5>; rel=\"prev\" , </api/v2.0/users?{rest}&page=3&page_size=5>; rel=\"next\""
    );
    assert_eq!(middle.header("link"), expected);
    assert_eq!(middle.each("username"), ["u19", "u18", "u17", "u16", "u15"]);
    let last = house.get("admin", "/users?page=3").is(200);
    assert_eq!(last.json().as_array().unwrap().len(), 5);
    assert_eq!(
        last.header("link"),
        "</api/v2.0/users?page=2&page_size=10>; rel=\"prev\""
    );
    let beyond = house.get("admin", "/users?page=99").is(200);
    assert_eq!(
        (
            beyond.text.as_str(),
            beyond.header("link"),
            beyond.header("x-total-count")
        ),
        ("[]", "", "25")
    );
}

#[test]
fn following_the_links_gives_each_once() {
    let house = crowd();
    let (mut names, mut path) = (Vec::new(), "/users?page_size=7".to_owned());
    loop {
        let page = house.get("admin", &path).is(200);
        names.extend(page.each("username"));
        let link = page
            .header("link")
            .split(" , ")
            .find(|link| link.ends_with("rel=\"next\""))
            .map(str::to_owned);
        let Some(link) = link else { break };
        path = link
            .split(['<', '>'])
            .nth(1)
            .unwrap()
            .strip_prefix("/api/v2.0")
            .unwrap()
            .to_owned();
    }
    let mut sorted: Vec<String> = names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sorted.len(), 25);
    sorted.dedup();
    assert_eq!(sorted.len(), 25);
    assert!(sorted.is_sorted());
}

#[test]
fn a_page_that_makes_no_sense_is_refused() {
    let house = House::new();
    for bad in [
        "page=0",
        "page=-1",
        "page=x",
        "page_size=0",
        "page_size=101",
        "page_size=1e9",
        "page=99999999999999999999",
    ] {
        let (_, message) = house.get("admin", &format!("/users?{bad}")).is(400).refusal();
        assert!(message.contains("page"), "{message}");
    }
    let largest = house
        .get("admin", &format!("/users?page={}&page_size=100", u64::MAX))
        .is(200);
    assert_eq!(largest.text, "[]");
}

/// CVE-2025-30086: `q=password=~a` gave the hashes of passwords away, letter by letter.
#[test]
fn nothing_can_be_asked_for_but_what_is_declared() {
    let house = House::new();
    let id = house.project("team", false);
    let lists = [
        "/users?".to_owned(),
        "/usergroups?".to_owned(),
        "/projects?".to_owned(),
        "/robots?".to_owned(),
        "/users/current/tokens?".to_owned(),
    ];
    for list in lists {
        for field in [
            "password",
            "Password",
            "secret",
            "hash",
            "salt",
            "generation",
            "user.password",
            "password__startswith",
            "1",
            "%00",
        ] {
            for parameter in [
                format!("q={field}%3D~a"),
                format!("q={field}%3D[a~b]"),
                format!("sort=-{field}"),
            ] {
                let reply = house.get("admin", &format!("{list}{parameter}")).is(400);
                let (_, message) = reply.refusal();
                assert!(
                    message.contains("nothing to filter or sort by"),
                    "{list}{parameter}: {message}"
                );
            }
        }
        for bad in [
            "q=name",
            "q=%3D",
            "q=name%3D[1",
            "q=name%3D{a",
            "sort=,",
            "sort=--name",
            "q=id%3Dabc",
            "q=creation_time%3Dsoon",
        ] {
            house.get("admin", &format!("{list}{bad}")).is(400);
        }
        let long = format!("{list}q=name%3D{}", "a".repeat(5000));
        house.get("admin", &long).is(400);
        let many = format!("{list}sort={}name", "name,".repeat(50));
        house.get("admin", &many).is(400);
    }
    assert_eq!(
        house
            .get("admin", &format!("/projects?q=ProjectID%3D{id}"))
            .each("name"),
        ["team"]
    );
}

#[test]
fn times_are_written_as_harbor_writes_them() {
    let house = House::new();
    house.user("early");
    house.clock.advance(std::time::Duration::from_secs(3600));
    house.user("late");
    // The clock stands at 2027-01-15T08:00:00Z in the beginning.
    let found = house
        .get("admin", "/users?q=creation_time%3D[2027-01-15%2008:30:00~]")
        .is(200);
    assert_eq!(found.each("username"), ["late"]);
    let found = house
        .get(
            "admin",
            "/users?q=username%3D~ly,creation_time%3D[~2027-01-15T08:30:00Z]",
        )
        .is(200);
    assert_eq!(found.each("username"), ["early"]);
    assert_eq!(found.each("creation_time"), [json!("2027-01-15T08:00:00Z")]);
}
