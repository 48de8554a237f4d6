//! The official conformance suite, on real ports, with nothing of it turned off.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::command::limited;
use crate::report::{Job, counts, summary};
use crate::server::{Server, random_password, start_with_accounts};
use crate::{target, tools};

/// The suite's source, pinned to a commit.
const SUITE: (&str, &str) = (
    "github.com/opencontainers/distribution-spec/conformance",
    "967efdc079b91785ad18c77cc4f8991a47feefbf",
);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server to check.
    #[arg(long, value_enum, default_value = "all")]
    server: Server,
    /// The version of the specification to check for.
    #[arg(long, value_enum, default_value = "all")]
    version: Version,
    /// Check a registry that already runs at HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "server")]
    against: Option<String>,
    /// Use this program of the suite instead of installing the pinned one.
    #[arg(long, value_name = "PROGRAM")]
    suite: Option<PathBuf>,
}

/// Somebody who may do in the suite's projects all that it does there.
struct Credentials {
    name: &'static str,
    password: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.1")]
    V1_1,
    Dev,
    All,
}

impl Version {
    fn each(self) -> &'static [&'static str] {
        match self {
            Self::V1_1 => &["1.1"],
            Self::Dev => &["dev"],
            Self::All => &["1.1", "dev"],
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let suite = suite(args.suite.as_deref())?;
    let mut jobs = Vec::new();
    if let Some(address) = &args.against {
        jobs = check(&suite, "against", address, args.version, None);
    } else {
        for server in args.server.each() {
            jobs.extend(check_server(&suite, server, args.version));
            if server == Server::Hyper {
                jobs.extend(check_with_accounts(&suite, args.version));
            }
        }
    }
    println!("{}", summary(&jobs));
    Ok(counts(&jobs).1 == 0)
}

/// The suite's program: the one given, or the pinned one, installed.
pub(crate) fn suite(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(path) => Ok(path
            .canonicalize()
            .with_context(|| format!("no suite at {}", path.display()))?),
        None => tools::go("conformance", SUITE.0, SUITE.1)
            .context("the suite is not here; `--suite PROGRAM` takes one that is built already"),
    }
}

/// Starts `server`, open to everybody, and checks it for each version.
pub(crate) fn check_server(suite: &Path, server: Server, version: Version) -> Vec<Job> {
    let work = target().join("conformance").join(server.name());
    let start = Instant::now();
    match crate::layout::remove(&work).and_then(|()| server.start(&work)) {
        Ok(running) => check(suite, server.name(), &running.address.to_string(), version, None),
        Err(error) => vec![not_started(server.name(), start, error)],
    }
}

/// Starts a `berth` with accounts, and checks it for each version as somebody who logs in.
pub(crate) fn check_with_accounts(suite: &Path, version: Version) -> Vec<Job> {
    let name = "hyper-accounts";
    let work = target().join("conformance").join(name);
    let start = Instant::now();
    let started = crate::layout::remove(&work).and_then(|()| {
        let credentials = Credentials {
            name: "admin",
            password: random_password()?,
        };
        // The suite's first push makes its projects, the one that it mounts from too.
        let environment = [("BERTH_AUTH__AUTO_CREATE_PROJECTS", "true".as_ref())];
        let running = start_with_accounts(&work, &credentials.password, &environment)?;
        Ok((running, credentials))
    });
    match started {
        Ok((running, credentials)) => check(
            suite,
            name,
            &running.address.to_string(),
            version,
            Some(&credentials),
        ),
        Err(error) => vec![not_started(name, start, error)],
    }
}

fn not_started(name: &str, start: Instant, error: anyhow::Error) -> Job {
    Job {
        name: format!("{name}: start"),
        outcome: (&Err::<(), _>(error)).into(),
        took: start.elapsed(),
        note: String::new(),
    }
}

fn check(
    suite: &Path,
    name: &str,
    address: &str,
    version: Version,
    credentials: Option<&Credentials>,
) -> Vec<Job> {
    let each = version.each().iter();
    each.map(|version| {
        Job::run(&format!("{name}: {version}"), || {
            let results = target()
                .join("conformance")
                .join(format!("results-{name}-{version}"));
            let results = once(suite, address, version, credentials, &results)?;
            println!("\n{name}, version {version}: {}", results.counts());
            for (word, names) in [("failed", &results.failed), ("skipped", &results.skipped)] {
                for case in names {
                    println!("  {word}: {case}");
                }
            }
            ensure!(results.clean(), "{}", results.counts());
            Ok(results.counts())
        })
    })
    .collect()
}

/// One run of the suite, read from the report that it writes.
fn once(
    suite: &Path,
    address: &str,
    version: &str,
    credentials: Option<&Credentials>,
    results: &Path,
) -> Result<Results> {
    // A report left from before must not pass for this run's: the suite ends with 0 if it cannot start.
    crate::layout::remove(results)?;
    std::fs::create_dir_all(results)?;
    let mut command = limited(suite);
    command.current_dir(results);
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("OCI_")) {
        command.env_remove(key);
    }
    let repository = format!("conformance-{}", version.replace('.', "-"));
    command
        .env("OCI_REGISTRY", address)
        .env("OCI_TLS", "disabled")
        .env("OCI_VERSION", version);
    command
        .env("OCI_REPO1", format!("{repository}/one"))
        .env("OCI_REPO2", format!("{repository}/two"));
    command.env("OCI_RESULTS_DIR", results);
    if let Some(credentials) = credentials {
        command
            .env("OCI_USERNAME", credentials.name)
            .env("OCI_PASSWORD", &credentials.password);
        // Two projects, so that it mounts from one into the other.
        command.env("OCI_REPO2", format!("{repository}-other/two"));
    }
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", suite.display()))?;
    std::fs::write(
        results.join("output.txt"),
        [output.stdout, output.stderr.clone()].concat(),
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(results.join("junit.xml"))
        .with_context(|| format!("the suite left no report: {}", said.trim()))?;
    let parsed = Results::parse(&report)?;
    ensure!(
        output.status.success() || !parsed.clean(),
        "the suite failed with no failed case: {}",
        said.trim()
    );
    Ok(parsed)
}

/// What the suite's report says, by the names of its cases.
#[derive(Debug, Default, PartialEq, Eq)]
struct Results {
    passed: usize,
    /// Failures and errors of the suite itself.
    failed: Vec<String>,
    /// Skipped because the registry does not support something.
    skipped: Vec<String>,
    /// Left off by the suite's own configuration for the version.
    disabled: usize,
}

/// How the suite's output marks a case that its configuration leaves off. The report calls that `skipped` too,
/// like a case that the registry did not support; only this text tells them apart.
const DISABLED: &str = "is disabled in the configuration";

impl Results {
    fn parse(report: &str) -> Result<Self> {
        let document = roxmltree::Document::parse(report).context("the suite's report")?;
        let mut results = Self::default();
        for case in document
            .descendants()
            .filter(|node| node.has_tag_name("testcase"))
        {
            let name = case.attribute("name").context("a case without a name")?;
            let text = |tag| {
                case.children()
                    .find(|node| node.has_tag_name(tag))
                    .and_then(|node| node.text())
            };
            let said = text("system-out")
                .unwrap_or_default()
                .lines()
                .next()
                .unwrap_or_default()
                .trim();
            let shown = if said.is_empty() {
                name.to_owned()
            } else {
                format!("{name}: {said}")
            };
            match case.attribute("status") {
                Some("passed") => results.passed += 1,
                Some("skipped") if text("system-err").is_some_and(|output| output.contains(DISABLED)) => {
                    results.disabled += 1;
                }
                Some("skipped") => results.skipped.push(shown),
                // A failure, an error, or a word that this does not know: none of them is a pass.
                _ => results.failed.push(shown),
            }
        }
        // One suite may hold counts that no case shows, as for a group that failed outside its cases.
        for suite in document
            .descendants()
            .filter(|node| node.has_tag_name("testsuite"))
        {
            let count = |key| {
                suite
                    .attribute(key)
                    .and_then(|value| value.parse::<usize>().ok())
                    .unwrap_or(0)
            };
            let failures = count("failures") + count("errors");
            if failures > 0 && results.failed.is_empty() {
                results
                    .failed
                    .push(format!("{failures} failures that no case names"));
            }
        }
        ensure!(results.passed + results.failed.len() > 0, "the suite ran no case");
        Ok(results)
    }

    fn clean(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }

    fn counts(&self) -> String {
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        format!(
            "{} passed, {failed} failed, {skipped} skipped ({} left off by the suite)",
            self.passed, self.disabled
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<testsuites><testsuite name="OCI Conformance Test" tests="4" failures="1" errors="0">
        <testcase name="t/ping" classname="" status="passed"><system-err>ok</system-err></testcase>
        <testcase name="t/tag-param" status="skipped"><system-err>t/tag-param: skipping test:
          api manifest-put-tag-param is disabled in the configuration</system-err></testcase>
        <testcase name="t/mount" status="skipped"><system-out>registry does not support it</system-out></testcase>
        <testcase name="t/push" status="failure"><system-out>unexpected status 500
          second line</system-out></testcase></testsuite></testsuites>"#;

    #[test]
    fn a_case_left_off_by_the_suite_is_not_a_skip_of_the_registry() {
        let results = Results::parse(REPORT).unwrap();
        assert_eq!((results.passed, results.disabled), (1, 1));
        assert_eq!(results.skipped, ["t/mount: registry does not support it"]);
        assert_eq!(results.failed, ["t/push: unexpected status 500"]);
        assert!(!results.clean());
    }

    #[test]
    fn a_skip_alone_is_not_clean() {
        let report = r#"<testsuites><testsuite><testcase name="a" status="passed"/><testcase name="b"
            status="skipped"/></testsuite></testsuites>"#;
        assert!(!Results::parse(report).unwrap().clean());
    }

    #[test]
    fn a_report_of_nothing_or_of_an_unknown_word_is_not_a_pass() {
        assert!(Results::parse("<testsuites/>").is_err());
        let odd = r#"<testsuites><testsuite><testcase name="a" status="splendid"/></testsuite></testsuites>"#;
        assert!(!Results::parse(odd).unwrap().clean());
        let silent = r#"<testsuites><testsuite errors="2"><testcase name="a" status="passed"/></testsuite></testsuites>"#;
        assert!(!Results::parse(silent).unwrap().clean());
    }

    /// Runs a script in the suite's place, so that what a run makes of its ending is known without the suite.
    fn run_script(name: &str, script: &str) -> Result<Results> {
        run_script_as(name, script, None)
    }

    fn run_script_as(name: &str, script: &str, credentials: Option<&Credentials>) -> Result<Results> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = std::env::temp_dir().join(format!("xtask-conformance-{}-{name}", std::process::id()));
        let results = dir.join("results");
        std::fs::create_dir_all(&results)?;
        std::fs::write(results.join("junit.xml"), "<stale/>")?;
        let program = dir.join("suite");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let outcome = once(&program, "127.0.0.1:1", "1.1", credentials, &results);
        crate::layout::remove(&dir)?;
        outcome
    }

    #[test]
    fn a_suite_that_ends_well_without_a_report_has_failed() {
        let error = run_script("silent", "echo 'failed to load config' >&2; exit 0").unwrap_err();
        assert!(
            format!("{error:#}").contains("failed to load config"),
            "{error:#}"
        );
    }

    #[test]
    fn the_suite_is_given_the_credentials_and_two_projects() {
        let report =
            r#"<testsuites><testsuite><testcase name="a" status="passed"/></testsuite></testsuites>"#;
        let script = format!(
            "test \"$OCI_USERNAME $OCI_PASSWORD\" = 'admin Secret-1' && \
             test \"$OCI_REPO1 $OCI_REPO2\" = 'conformance-1-1/one conformance-1-1-other/two' && \
             echo '{report}' > \"$OCI_RESULTS_DIR/junit.xml\""
        );
        let credentials = Credentials {
            name: "admin",
            password: "Secret-1".to_owned(),
        };
        assert!(
            run_script_as("logged-in", &script, Some(&credentials))
                .unwrap()
                .clean()
        );
        assert!(run_script("logged-out", &script).is_err());
    }

    #[test]
    fn a_suite_that_fails_while_its_report_is_clean_has_failed() {
        let report =
            r#"<testsuites><testsuite><testcase name="a" status="passed"/></testsuite></testsuites>"#;
        let script = |code: u8| format!("echo '{report}' > \"$OCI_RESULTS_DIR/junit.xml\"; exit {code}");
        assert!(run_script("clean", &script(0)).unwrap().clean());
        assert!(run_script("torn", &script(1)).is_err());
    }
}
