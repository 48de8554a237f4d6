//! `berth robot`.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::house::{Registry, line};

const SCOPE: &str = "repository:shop/web:pull,push,delete";

fn shop() -> Registry {
    let registry = Registry::start();
    registry.run(&["project", "create", "shop"]).well();
    registry
}

#[test]
fn a_robot_logs_in_with_what_was_printed_once() {
    let registry = shop();
    let made = registry
        .run(&[
            "robot",
            "create",
            "ci",
            "--project",
            "shop",
            "--allow",
            "pull,push",
        ])
        .well();
    let told: Vec<&str> = made.out.lines().collect();
    assert!(
        told[0].starts_with("robot robot$shop+ci was created, until 20")
            && told[0].ends_with("; its secret is told only now:"),
        "{made:?}"
    );
    let secret = told[1];
    registry.gives("robot$shop+ci", secret, SCOPE, &["pull", "push"]);
    for again in [
        &["robot", "list", "--project", "shop", "--json"][..],
        &["robot", "show", "ci", "--project", "shop", "--json"],
        &["robot", "show", "robot$shop+ci"],
    ] {
        let said = registry.run(again).well();
        assert!(
            said.out.contains("robot$shop+ci") && !said.out.contains(secret),
            "{said:?}"
        );
    }
    let table = registry.run(&["robot", "list", "--project", "shop"]).well().out;
    assert!(
        table.contains("shop: repository:pull, repository:push"),
        "{table}"
    );
    assert!(!registry.server.end().contains(secret));
}

/// The name and the secret in a docker configuration for a registry.
fn entry(config: &str, registry: &str) -> (String, String) {
    let config: Value = serde_json::from_str(config).unwrap();
    let auth = config["auths"][registry]["auth"].as_str().unwrap();
    let shown = String::from_utf8(STANDARD.decode(auth).unwrap()).unwrap();
    let (name, secret) = shown.split_once(':').unwrap();
    (name.to_owned(), secret.to_owned())
}

#[test]
fn what_is_printed_for_ci_and_clusters_is_ready_to_use() {
    let registry = shop();
    let host = registry.server.address.to_string();
    let create = |name: &str, output: &[&str]| {
        let arguments = [
            &["robot", "create", name, "--project", "shop", "--allow", "push"],
            output,
        ]
        .concat();
        registry.run(&arguments).well().out
    };
    let (name, secret) = entry(&create("docker", &["--output", "dockerconfigjson"]), &host);
    assert_eq!(name, "robot$shop+docker");
    registry.gives(&name, &secret, SCOPE, &["pull", "push"]);

    // A shell reads it as it is, however many `$` are in it.
    let env = create("shell", &["--output", "env"]);
    let file = registry.file("ci.env", &env);
    let shell = Command::new("sh")
        .arg("-ec")
        .arg(r#". "$0"; printf '%s\n' "$REGISTRY" "$REGISTRY_USERNAME" "$REGISTRY_PASSWORD""#)
        .arg(file)
        .output()
        .unwrap();
    let read = String::from_utf8(shell.stdout).unwrap();
    let read: Vec<&str> = read.lines().collect();
    assert_eq!(read[..2], [host.as_str(), "robot$shop+shell"]);
    registry.gives(read[1], read[2], SCOPE, &["pull", "push"]);

    let yaml = create(
        "cluster",
        &[
            "--output",
            "kubernetes-secret",
            "--registry",
            "registry.test",
            "--secret-name",
            "pull",
        ],
    );
    assert!(
        yaml.contains("kind: Secret\n") && yaml.contains("  name: \"pull\"\n"),
        "{yaml}"
    );
    let data = yaml.split_once("  .dockerconfigjson: ").unwrap().1.trim();
    let config = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
    let (name, secret) = entry(&config, "registry.test");
    registry.takes(&name, &secret);
}

#[test]
fn a_robot_of_the_registry_reaches_the_projects_that_are_named() {
    let registry = shop();
    registry.run(&["project", "create", "base"]).well();
    registry.run(&["project", "create", "other"]).well();
    let made = registry
        .run(&[
            "robot",
            "create",
            "cluster",
            "--level",
            "system",
            "--project",
            "shop",
            "--project",
            "base",
            "--expires",
            "never",
            "--json",
        ])
        .well()
        .json();
    assert_eq!(
        (&made[0]["name"], &made[0]["expires_at"]),
        (&"robot$cluster".into(), &(-1).into())
    );
    let secret = made[0]["secret"].as_str().unwrap();
    let may = |project: &str, actions: &[&str]| {
        let scope = format!("repository:{project}/web:pull,push");
        registry.gives("robot$cluster", secret, &scope, actions);
    };
    may("shop", &["pull"]);
    may("base", &["pull"]);
    may("other", &[]);
    let all = registry
        .run(&[
            "robot",
            "create",
            "mirror",
            "--level",
            "system",
            "--project",
            "*",
            "-q",
        ])
        .well();
    let scope = "repository:other/web:pull";
    registry.gives("robot$mirror", line(&all), scope, &["pull"]);
    let names = registry.run(&["robot", "list", "-q"]).well().out;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort();
    assert_eq!(names, ["robot$cluster", "robot$mirror"]);
}

#[test]
fn a_robot_is_disabled_enabled_refreshed_and_deleted() {
    let registry = shop();
    let made = registry
        .run(&["robot", "create", "ci", "--project", "shop", "-q"])
        .well();
    let first = line(&made).to_owned();
    let robot = |what: &'static str, rest: &[&'static str]| {
        let arguments = [&["robot", what, "ci", "--project", "shop"], rest].concat();
        registry.run(&arguments)
    };
    let works = |secret: &str| registry.takes("robot$shop+ci", secret);
    let ended = |secret: &str| registry.refuses("robot$shop+ci", secret);
    works(&first);
    robot("disable", &[]).well();
    ended(&first);
    assert_eq!(robot("enable", &["--json"]).well().json()[0]["disable"], false);
    works(&first);

    let refreshed = robot("refresh", &["-q"]).well();
    let second = line(&refreshed).to_owned();
    works(&second);
    ended(&first);

    let asked = robot("delete", &[]);
    assert_eq!(asked.code, 1);
    assert!(
        asked.err.contains("robot$shop+ci") && asked.err.contains("--yes"),
        "{asked:?}"
    );
    robot("delete", &["--yes"]).well();
    ended(&second);
    let gone = robot("show", &[]);
    assert_eq!(gone.code, 1);
    assert!(gone.err.contains("project shop has no robot ci"), "{gone:?}");
    let log = registry.server.end();
    assert!(!log.contains(&first) && !log.contains(&second), "{log}");
}

#[test]
fn what_makes_no_sense_is_usage_and_what_is_refused_is_named() {
    let registry = shop();
    for wrong in [
        &["robot", "create", "ci"][..],
        &["robot", "create", "ci", "--project", "shop", "--project", "base"],
        &["robot", "create", "ci", "--project", "*"],
        &["robot", "create", "ci", "--level", "system"],
        &["robot", "create", "ci", "--project", "shop", "--allow", "write"],
        &["robot", "create", "ci", "--project", "shop", "--expires", "1h"],
        &[
            "robot",
            "create",
            "ci",
            "--project",
            "shop",
            "--output",
            "env",
            "--json",
        ],
    ] {
        let said = registry.run(wrong);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{wrong:?} {said:?}");
    }
    registry
        .run(&["robot", "create", "ci", "--project", "shop"])
        .well();
    for (arguments, named) in [
        (&["robot", "create", "ci", "--project", "shop"][..], "ci"),
        (&["robot", "create", "ci", "--project", "calico"], "calico"),
        (
            &[
                "robot",
                "create",
                "x",
                "--project",
                "shop",
                "--allow",
                "moon:walk",
            ],
            "moon:walk",
        ),
        (&["robot", "disable", "nobody"], "nobody"),
        (&["robot", "list", "--project", "calico"], "calico"),
    ] {
        let said = registry.refused(arguments);
        assert!(said.contains(named), "{said}");
    }
}
