//! `berth user`.

use std::fs::File;

use crate::house::{GOOD, Registry, becomes, line};
use crate::support::binary::{PASSWORD, finish};

#[test]
fn a_user_logs_in_with_the_password_that_was_made_up_and_told_once() {
    let registry = Registry::start();
    let made = registry
        .run(&[
            "user",
            "create",
            "alice",
            "--email",
            "alice@shop.test",
            "--generate",
        ])
        .well();
    let told: Vec<&str> = made.out.lines().collect();
    assert_eq!(told[0], "user alice was created; its password is told only now:");
    let password = told[1];
    registry.takes("alice", password);
    registry.refuses("alice", GOOD);

    let shown = registry.of("alice", password, &["user", "show"]).well();
    assert!(
        shown.out.contains("alice@shop.test") && !shown.out.contains(password),
        "{shown:?}"
    );

    // For a script it is all that is printed.
    let quiet = registry
        .run(&["user", "create", "bob", "--generate", "--quiet"])
        .well();
    registry.takes("bob", line(&quiet));
    let json = registry
        .run(&["user", "create", "carol", "--generate", "--json"])
        .well()
        .json();
    assert_eq!(json[0]["username"], "carol");
    registry.takes("carol", json[0]["password"].as_str().unwrap());

    let log = registry.server.end();
    for secret in [password, line(&quiet), PASSWORD] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_password_comes_from_a_file_or_from_standard_input_and_never_from_the_command_line() {
    let registry = Registry::start();
    let file = registry.file("bob.txt", &format!("{GOOD}\n"));
    let mut create = registry.berth(&["user", "create", "bob", "--new-password-stdin", "--quiet"]);
    create
        .env("BERTH_PASSWORD", PASSWORD)
        .stdin(File::open(&file).unwrap());
    assert_eq!(line(&finish(create).well()), "bob");
    registry.takes("bob", GOOD);

    for wrong in [
        &["user", "create", "eve", "--password", GOOD][..],
        &["user", "create", "eve", "--new-password", GOOD],
        &["user", "create", "eve", "--generate", "--new-password-stdin"],
    ] {
        assert_eq!(registry.run(wrong).code, 2, "{wrong:?}");
    }
    let nobody = registry.refused(&["user", "create", "eve"]);
    assert!(
        nobody.contains("no new password for eve") && nobody.contains("--generate"),
        "{nobody}"
    );
}

#[test]
fn users_are_listed_for_people_for_scripts_and_for_programs() {
    let registry = Registry::start();
    registry.user("alice");
    let table = registry.run(&["user", "list"]).well().out;
    let mut lines = table.lines();
    assert!(
        lines.next().unwrap().starts_with("NAME   ADMIN  E-MAIL"),
        "{table}"
    );
    assert!(
        table.contains("\nalice  no ") && table.contains("\nadmin  yes "),
        "{table}"
    );
    let names = registry.run(&["user", "list", "--quiet"]).well().out;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort();
    assert_eq!(names, ["admin", "alice"]);
    let like = registry.run(&["user", "list", "--like", "lic", "-q"]).well();
    assert_eq!(line(&like), "alice");
    let json = registry.run(&["user", "list", "--json"]).well().json();
    assert!(
        json.iter()
            .any(|user| user["username"] == "alice" && user["sysadmin_flag"] == false),
        "{json:?}"
    );
    assert!(json.iter().all(|user| user.get("password").is_none()), "{json:?}");
}

#[test]
fn an_administrator_is_made_and_unmade_and_the_first_one_stays() {
    let registry = Registry::start();
    registry.user("alice");
    let list = ["user", "list", "-q"];
    let before = registry.of("alice", GOOD, &list);
    assert_eq!((before.code, before.out.as_str()), (1, ""), "{before:?}");
    let granted = registry.run(&["user", "admin", "grant", "alice"]).well();
    assert_eq!(line(&granted), "user alice may do everything");
    becomes(|| registry.of("alice", GOOD, &list).code, 0);
    let revoked = registry
        .run(&["user", "admin", "revoke", "alice", "--json"])
        .well();
    assert_eq!(revoked.json()[0]["sysadmin_flag"], false);
    becomes(|| registry.of("alice", GOOD, &list).code, 1);
    let first = registry.refused(&["user", "admin", "revoke", "admin"]);
    assert!(first.contains("admin"), "{first}");
}

#[test]
fn who_has_another_password_logs_in_with_that_alone() {
    let registry = Registry::start();
    registry.user("alice");
    let made = registry
        .of("alice", GOOD, &["user", "password", "--generate", "-q"])
        .well();
    let own = line(&made);
    registry.takes("alice", own);
    registry.refuses("alice", GOOD);
    let made = registry
        .run(&["user", "password", "alice", "--generate", "-q"])
        .well();
    registry.takes("alice", line(&made));
    registry.refuses("alice", own);
}

#[test]
fn what_is_known_of_a_user_changes_as_far_as_it_was_said() {
    let registry = Registry::start();
    registry.user("alice");
    registry
        .run(&[
            "user",
            "update",
            "alice",
            "--email",
            "a@shop.test",
            "--comment",
            "on leave",
        ])
        .well();
    registry.run(&["user", "update", "alice", "--comment", ""]).well();
    let shown = registry.run(&["user", "show", "alice", "--json"]).well().json();
    assert_eq!(
        (&shown[0]["email"], &shown[0]["comment"]),
        (&"a@shop.test".into(), &"".into())
    );
}

#[test]
fn a_refusal_names_the_user_and_ends_with_1() {
    let registry = Registry::start();
    registry.user("alice");
    for arguments in [
        &["user", "create", "alice", "--generate"][..],
        &["user", "create", "al ice", "--generate"],
        &["user", "show", "mallory"],
        &["user", "delete", "mallory", "--yes"],
        &["user", "admin", "grant", "mallory"],
        &["user", "password", "mallory", "--generate"],
        &["user", "update", "mallory", "--comment", "x"],
    ] {
        let said = registry.refused(arguments);
        assert!(
            said.contains(arguments[if arguments[1] == "admin" { 3 } else { 2 }]),
            "{said}"
        );
    }
    let weak = registry.file("weak", "weak");
    let weak = registry.refused(&[
        "user",
        "create",
        "bob",
        "--new-password-file",
        weak.to_str().unwrap(),
    ]);
    assert!(
        weak.contains("bob") && weak.contains("8 to 128 characters"),
        "{weak}"
    );
}

#[test]
fn nobody_is_deleted_by_a_script_that_did_not_say_so() {
    let registry = Registry::start();
    registry.user("alice");
    let asked = registry.refused(&["user", "delete", "alice"]);
    assert!(asked.contains("user alice") && asked.contains("--yes"), "{asked}");
    registry.takes("alice", GOOD);
    let deleted = registry.run(&["user", "delete", "alice", "--yes"]).well();
    assert_eq!(line(&deleted), "user alice was deleted");
    registry.refuses("alice", GOOD);
}
