//! The configuration: what is read, what wins, and what is said about what is wrong.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use server_hyper::config::{AdminListen, Config, ConfigError, Flag, Level, Loaded, LogFormat, load};

/// What a case says in each place.
#[derive(Default, Clone, Copy)]
struct Said {
    file: &'static str,
    variables: &'static [(&'static str, &'static str)],
    flags: &'static [(&'static str, &'static str, &'static str)],
}

/// Reads it, from a file called `berth.toml` if there is one; messages name that without its directory.
fn read(said: Said) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("berth.toml");
    fs::write(&path, said.file).unwrap();
    let file = (!said.file.is_empty()).then_some(path.as_path());
    let variables = said
        .variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let flags: Vec<Flag> = said
        .flags
        .iter()
        .map(|(name, key, value)| Flag {
            name: (*name).to_owned(),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    let directory = format!("{}/", directory.path().display());
    load(file, variables, &flags).map_err(|error: ConfigError| error.to_string().replace(&directory, ""))
}

fn file(file: &'static str) -> Said {
    Said {
        file,
        ..Said::default()
    }
}

fn variables(variables: &'static [(&'static str, &'static str)]) -> Said {
    Said {
        variables,
        ..Said::default()
    }
}

fn flags(flags: &'static [(&'static str, &'static str, &'static str)]) -> Said {
    Said {
        flags,
        ..Said::default()
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_its_name_and_what_is_allowed() {
    let cases = [
        (
            file("# first\nlisten = \"127.0.0.1:1\"\nmemroy = true\n"),
            "berth.toml:3:1: unknown key `memroy`; did you mean `memory`?",
        ),
        (
            file("[limits]\n  conections = 5\n"),
            "berth.toml:2:3: unknown key `limits.conections`; did you mean `limits.connections`?",
        ),
        (
            file("[limit]\nconnections = 5\n"),
            "berth.toml:1:2: unknown key `limit`; did you mean `limits`?",
        ),
        (
            file("limits.drian = \"5s\"\n"),
            "berth.toml:1:8: unknown key `limits.drian`; did you mean `limits.drain`?",
        ),
        (
            file("something_else_entirely = 1\n"),
            "berth.toml:1:1: unknown key `something_else_entirely`",
        ),
        (
            file("tls = true\n"),
            "berth.toml:1:1: `tls` is a table, not a boolean",
        ),
        (
            file("[log]\nlevel = \"loud\"\n"),
            "berth.toml:2:9: log.level: \"loud\" is not allowed; allowed is one of \"error\", \"warn\", \"info\", \
             \"debug\", \"trace\"",
        ),
        (
            file("[limits]\ndrain = 30\n"),
            "berth.toml:2:9: limits.drain: an integer is not allowed; allowed is a duration such as \"500ms\", \
             \"30s\", \"5m\" or \"24h\"",
        ),
        (
            file("[limits]\nconnections = -1\n"),
            "berth.toml:2:15: limits.connections: \"-1\" is not allowed; allowed is a whole number up to 4294967295",
        ),
        (
            file("memory = \"yes\"\n"),
            "berth.toml:1:10: memory: a string is not allowed; allowed is true or false",
        ),
        (
            file("listen = [\"127.0.0.1:5000\", \"localhost\"]\n"),
            "berth.toml:1:10: listen: \"127.0.0.1:5000,localhost\" is not allowed; allowed is an address and a port, \
             such as \"127.0.0.1:5000\" or \"[::1]:5000\", or several of them",
        ),
        (
            file("durability = \"lax\"\n"),
            "berth.toml:1:14: durability: \"lax\" is not allowed; allowed is one of \"strict\", \"relaxed\"",
        ),
        (
            file("[limits]\npage_size = 0\n"),
            "berth.toml:2:13: limits.page_size: 0 is not between 1 and 10000",
        ),
        (
            file("[tls]\ncertificate = \"cert.pem\"\n"),
            "berth.toml:2:15: tls.certificate: a certificate needs its key; set tls.key too",
        ),
        (
            variables(&[("BERTH_TLS__KEY", "key.pem")]),
            "environment variable BERTH_TLS__KEY: tls.key: a key needs its certificate; set tls.certificate too",
        ),
        (
            Said {
                file: "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n",
                variables: &[],
                flags: &[("--tls-self-signed", "tls.self_signed", "true")],
            },
            "flag --tls-self-signed: tls.self_signed: berth makes no certificate where tls.certificate names one; leave \
             one of the two away",
        ),
        (
            file("[tls]\nnames = [\"registry.example\"]\n"),
            "berth.toml:2:9: tls.names: they are for a certificate that berth makes; set tls.self_signed too",
        ),
        (
            file("[tls]\nself_signed = true\nnames = [\"registry.example:5000\"]\n"),
            "berth.toml:3:9: tls.names: \"registry.example:5000\" is not allowed; allowed is a host's name or an IP \
             address without a port, or several of them",
        ),
        (
            variables(&[("BERTH_LISTN", "127.0.0.1:1")]),
            "unknown environment variable `BERTH_LISTN`; did you mean `BERTH_LISTEN`?",
        ),
        (
            variables(&[("BERTH_LIMITS_DRAIN", "1s")]),
            "unknown environment variable `BERTH_LIMITS_DRAIN`; did you mean `BERTH_LIMITS__DRAIN`?",
        ),
        (
            variables(&[("BERTH_ADMIN__LISTEN", "never")]),
            "environment variable BERTH_ADMIN__LISTEN: admin.listen: \"never\" is not allowed; allowed is \"auto\", \
             \"off\", or an address and a port, such as \"127.0.0.1:5000\" or \"[::1]:5000\"",
        ),
        (
            flags(&[("--listen", "listen", "5000")]),
            "flag --listen: listen: \"5000\" is not allowed; allowed is an address and a port, such as \
             \"127.0.0.1:5000\" or \"[::1]:5000\", or several of them",
        ),
        (
            flags(&[("--set", "lifetimes.grase", "1h")]),
            "flag --set: unknown key `lifetimes.grase`; did you mean `lifetimes.grace`?",
        ),
        (
            flags(&[
                ("--set", "lifetimes.grace", "0s"),
                ("--set", "lifetimes.bucket", "0s"),
            ]),
            "flag --set: lifetimes.grace: must be longer than nothing\n\
             flag --set: lifetimes.bucket: must be longer than nothing",
        ),
        (
            file("[lifetimes]\nbucket = \"48h\"\n"),
            "berth.toml:2:10: lifetimes.bucket: \"48h\" is longer than lifetimes.grace, which is \"24h\"",
        ),
        (
            file("[lifetimes]\nlongest_read = \"3h\"\n"),
            "lifetimes.second_delay: \"2h\" is shorter than lifetimes.longest_read, which is \"3h\"",
        ),
        // All that is wrong is told, not only the first.
        (
            Said {
                file: "memroy = true\n",
                variables: &[("BERTH_DATE", "x")],
                flags: &[("--log-level", "log.level", "loud")],
            },
            "berth.toml:1:1: unknown key `memroy`; did you mean `memory`?\n\
             unknown environment variable `BERTH_DATE`; did you mean `BERTH_DATA`?\n\
             flag --log-level: log.level: \"loud\" is not allowed; allowed is one of \"error\", \"warn\", \"info\", \
             \"debug\", \"trace\"",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(read(said).expect_err(expected), expected);
    }
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_place() {
    let message = read(file("listen = \"127.0.0.1:1\"\n[limits\n")).unwrap_err();
    assert!(message.starts_with("berth.toml:2:8: not TOML: "), "{message}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let error = load(Some("nowhere/berth.toml".as_ref()), [], &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("nowhere/berth.toml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn flags_win_over_variables_and_those_over_the_file_and_that_over_the_defaults() {
    let said = Said {
        file: "data = \"file\"\n[limits]\ndrain = \"1s\"\nstreams = 1\n",
        variables: &[
            ("BERTH_DATA", "variable"),
            ("BERTH_LIMITS__DRAIN", "2s"),
            ("PATH", "elsewhere"),
        ],
        flags: &[("--data", "data", "flag")],
    };
    let loaded = read(said).unwrap();
    let config = loaded.config;
    assert_eq!(config.data, PathBuf::from("flag"));
    assert_eq!(config.limits.drain, Duration::from_secs(2));
    assert_eq!(config.limits.streams, 1);
    assert_eq!(config.limits.page_size, 1000);
    let source = |key| loaded.sources.get(key).map(ToString::to_string);
    assert_eq!(source("data").unwrap(), "flag --data");
    assert_eq!(
        source("limits.drain").unwrap(),
        "environment variable BERTH_LIMITS__DRAIN"
    );
    assert!(source("limits.streams").unwrap().ends_with("berth.toml:4:11"));
    assert_eq!(source("limits.page_size"), None);
}

#[test]
fn a_variable_can_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("any.toml");
    fs::write(&path, "log = { format = \"json\", level = \"debug\" }\n").unwrap();
    let loaded = load(
        None,
        [("BERTH_CONFIG".into(), path.clone().into_os_string())],
        &[],
    )
    .unwrap();
    assert_eq!(loaded.file, Some(path));
    assert_eq!(
        (loaded.config.log.format, loaded.config.log.level),
        (LogFormat::Json, Level::Debug)
    );
}

#[test]
fn lists_are_written_as_each_place_writes_them() {
    let expected = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
    for said in [
        file("listen = [\"127.0.0.1:1\", \"[::1]:2\"]"),
        variables(&[("BERTH_LISTEN", "127.0.0.1:1, [::1]:2")]),
        flags(&[("--listen", "listen", "127.0.0.1:1,[::1]:2")]),
    ] {
        assert_eq!(read(said).unwrap().config.listen, expected);
    }
    assert_eq!(
        read(file("listen = \"[::1]:2\"")).unwrap().config.listen,
        expected[1..]
    );
}

#[test]
fn operators_ask_on_a_port_of_their_own_which_is_chosen_if_that_of_the_registry_is() {
    let mut config = Config::default();
    assert_eq!(config.admin_address(), Some("127.0.0.1:5001".parse().unwrap()));
    config.listen = vec!["0.0.0.0:0".parse().unwrap()];
    assert_eq!(config.admin_address(), Some("127.0.0.1:0".parse().unwrap()));
    config.admin_listen = AdminListen::At("10.0.0.1:9".parse().unwrap());
    assert_eq!(config.admin_address(), Some("10.0.0.1:9".parse().unwrap()));
    config.admin_listen = AdminListen::Off;
    assert_eq!(config.admin_address(), None);
}

#[test]
fn the_example_file_names_every_key_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../berth.example.toml");
    let loaded = load(Some(path.as_ref()), [], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    for key in Config::keys() {
        assert!(
            loaded.sources.contains_key(key),
            "{key} is not in the example file"
        );
    }
}

#[test]
fn every_value_is_shown_as_the_file_writes_it() {
    let text: String = Config::default()
        .show()
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shown.toml");
    fs::write(&path, text).unwrap();
    assert_eq!(load(Some(&path), [], &[]).unwrap().config, Config::default());
}

#[test]
fn nodes_are_told_apart_by_their_data_and_keep_their_name_or_go_by_the_one_they_are_given() {
    let directory = tempfile::tempdir().unwrap();
    let with = |key: &str, value: &str| {
        let flag = Flag {
            name: format!("--{key}"),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        load(None, [], &[flag]).map(|loaded| loaded.config.collector_settings().node)
    };
    for name in ["one", "two"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let at = |name: &str| with("data", directory.path().join(name).to_str().unwrap()).unwrap();
    assert_ne!(at("one"), at("two"));
    assert_eq!(at("one"), at("one"));
    assert_eq!(at("one"), at("two/../one"), "it is the same directory");
    let one = at("one");
    let (host, path) = one.split_once(':').unwrap();
    assert!(!host.is_empty() && path.ends_with("/one"), "{one}");
    assert_eq!(with("collector.node", "blue").unwrap(), "blue");
    let refused = with("collector.node", &"n".repeat(201)).unwrap_err();
    assert!(refused.to_string().contains("collector.node"), "{refused}");
}

#[test]
fn the_collector_works_as_its_keys_say() {
    let told = file("[collector]\ninterval = \"10s\"\nworkers = 2\nrate = 0\nuntagged = \"720h\"\n");
    let settings = read(told).unwrap().config.collector_settings();
    assert_eq!((settings.interval.as_secs(), settings.workers), (10, 2));
    assert_eq!(settings.rate, None, "as many as go");
    assert_eq!(
        settings.policy.untagged.map(|kept| kept.as_secs()),
        Some(720 * 3600)
    );
    let told = file("[collector]\nuntagged = \"\"\n");
    assert_eq!(
        read(told).unwrap().config.collector_settings().policy.untagged,
        None
    );
    for wrong in [
        "[collector]\nuntagged = \"0s\"\n",
        "[collector]\nworkers = 0\n",
        "[collector]\ninterval = \"0s\"\n",
    ] {
        let refused = read(file(wrong)).unwrap_err();
        assert!(refused.contains("collector."), "{refused}");
    }
}
