//! The secret with which a kubelet pulls.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::Place;
use super::snippets::{Target, quoted};

/// What the secret is called in the cluster.
const SECRET: &str = "berth";
/// What stands in for a password that is not told.
const PLACEHOLDER: &str = "PASSWORD";

/// The name with which a client logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(String);

/// That a text cannot be a user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user's name is not empty, and has no colon and no control characters (RFC 7617 §2)")]
pub struct UserError;

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        match text.is_empty() || text.contains(':') || text.contains(char::is_control) {
            true => Err(UserError),
            false => Ok(User(text.to_owned())),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password that somebody asked to have written into a manifest. Not printed otherwise.
pub struct Password(Zeroizing<String>);

impl Password {
    /// From a line that was read; its end does not count.
    pub fn from_line(line: String) -> Self {
        let line = Zeroizing::new(line);
        Password(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A command that asks for the password and hands it on where no list of processes shows it.
pub(super) fn command(places: &[Place], user: &User) -> String {
    let entries: Vec<String> = places
        .iter()
        .map(|place| format!(r#""{place}":{{"auth":"%s"}}"#))
        .collect();
    let user = quoted(&user.0);
    format!(
        "printf 'Password of %s: ' {user} >&2; stty -echo; IFS= read -r PASSWORD; stty echo; echo >&2\n\
         AUTH=$(printf '%s:%s' {user} \"$PASSWORD\" | base64 | tr -d '\\n')\n\
         printf '{{\"auths\":{{{}}}}}'{} |\n  \
         kubectl create secret docker-registry {SECRET} --from-file=.dockerconfigjson=/dev/stdin\n\
         unset PASSWORD AUTH",
        entries.join(","),
        " \"$AUTH\"".repeat(places.len())
    )
}

/// The same as a manifest.
pub(super) fn manifest(places: &[Place], user: &User, password: Option<&Password>) -> Target {
    let password = password.map_or(PLACEHOLDER, |password| password.0.as_str());
    let auths: Map<String, Value> = places
        .iter()
        .map(|place| {
            (
                place.to_string(),
                json!({ "username": user.0, "password": password }),
            )
        })
        .collect();
    let config = json!({ "auths": auths });
    Target {
        path: "berth-pull-secret.yaml".to_owned(),
        content: format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {SECRET}\ntype: kubernetes.io/dockerconfigjson\n\
             stringData:\n  .dockerconfigjson: |\n    {config}\n"
        ),
        mode: 0o600,
    }
}

/// What makes the pods of a namespace use it.
pub(super) fn patch() -> String {
    format!(
        "kubectl patch serviceaccount default -p '{}'",
        json!({ "imagePullSecrets": [{ "name": SECRET }] })
    )
}
