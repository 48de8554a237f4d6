//! A registry with accounts, and its commands.

use std::fmt::Debug;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::binary::{PASSWORD, Said, Serving, berth, finish};

/// A password that is good enough.
pub(crate) const GOOD: &str = "Battery-staple-7";

/// Longest that a change may take to be known. A second is promised.
const LONGEST: Duration = Duration::from_secs(5);
/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(100);

/// A closed registry of its own.
pub(crate) struct Registry {
    pub(crate) server: Serving,
    pub(crate) directory: TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Serving::closed(&directory.path().join("data"), &[]);
        Registry { server, directory }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// A file of this content.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A command that knows the server, and nobody's password.
    pub(crate) fn berth(&self, arguments: &[&str]) -> Command {
        let mut command = berth(arguments);
        command
            .env("BERTH_SERVER", self.url())
            .env("DOCKER_CONFIG", self.directory.path());
        command
    }

    /// A command of somebody.
    pub(crate) fn of(&self, name: &str, password: &str, arguments: &[&str]) -> Said {
        let mut command = self.berth(arguments);
        command
            .env("BERTH_USERNAME", name)
            .env("BERTH_PASSWORD", password);
        finish(command)
    }

    /// A command of the administrator.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.of("admin", PASSWORD, arguments)
    }

    /// The same, of one that is refused; what it says.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 1, "{said:?}");
        assert_eq!(said.out, "", "{said:?}");
        assert!(said.err.starts_with("berth: "), "{said:?}");
        said.err
    }

    /// A user with the password [`GOOD`].
    pub(crate) fn user(&self, name: &str) {
        let file = self.file("good", GOOD);
        let file = file.to_str().unwrap();
        self.run(&["user", "create", name, "--new-password-file", file])
            .well();
    }

    /// A token for `scope` comes to give these actions to this name and secret.
    pub(crate) fn gives(&self, name: &str, secret: &str, scope: &str, actions: &[&str]) {
        let expected = Some(actions.iter().map(|action| (*action).to_owned()).collect());
        becomes(|| self.login(name, secret, scope), expected);
    }

    /// The same for whoever does not log in.
    pub(crate) fn gives_anybody(&self, scope: &str, actions: &[&str]) {
        let expected = Some(actions.iter().map(|action| (*action).to_owned()).collect());
        becomes(|| self.token(scope, None), expected);
    }

    /// This name and secret come to be taken.
    pub(crate) fn takes(&self, name: &str, secret: &str) {
        becomes(|| self.login(name, secret, "").is_some(), true);
    }

    /// This name and secret come to be refused.
    pub(crate) fn refuses(&self, name: &str, secret: &str) {
        becomes(|| self.login(name, secret, "").is_some(), false);
    }

    /// What a token for `scope` gives; nothing if name and secret are not taken.
    fn login(&self, name: &str, secret: &str, scope: &str) -> Option<Vec<String>> {
        let basic = STANDARD.encode(format!("{name}:{secret}"));
        self.token(scope, Some(&format!("Basic {basic}")))
    }

    fn token(&self, scope: &str, authorization: Option<&str>) -> Option<Vec<String>> {
        let url = format!("{}/service/token?service=berth&scope={scope}", self.url());
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let mut request = agent.get(url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.call().unwrap();
        if response.status() == 401 {
            return None;
        }
        assert_eq!(response.status(), 200);
        let body = response.body_mut().read_to_string().unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let claims = body["token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let access = claims["access"].as_array().cloned().unwrap_or_default();
        let actions = access
            .iter()
            .flat_map(|access| access["actions"].as_array().cloned().unwrap_or_default());
        Some(
            actions
                .map(|action| action.as_str().unwrap().to_owned())
                .collect(),
        )
    }
}

/// The only line that was printed.
pub(crate) fn line(said: &Said) -> &str {
    let line = said.out.strip_suffix('\n').unwrap_or_else(|| panic!("{said:?}"));
    assert!(!line.contains('\n') && !line.is_empty(), "{said:?}");
    line
}

/// Something is so within the time that a change may take to be known everywhere, and some more on a slow machine.
#[track_caller]
pub(crate) fn becomes<T: PartialEq + Debug>(now: impl Fn() -> T, expected: T) {
    let begun = Instant::now();
    loop {
        let is = now();
        if is == expected {
            return;
        }
        assert!(begun.elapsed() < LONGEST, "{is:?} is not {expected:?}");
        std::thread::sleep(BETWEEN);
    }
}
