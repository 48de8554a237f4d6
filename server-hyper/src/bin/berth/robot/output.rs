//! A robot's name and secret, ready to be pasted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use registry_auth::secret::Secret;
use serde_json::json;

/// The form of what is printed.
#[derive(Args)]
pub(super) struct Output {
    /// Print only this: what docker, a shell or Kubernetes reads
    #[arg(long, value_enum, value_name = "FORM", conflicts_with_all = ["json", "quiet"])]
    output: Option<Format>,
    /// What clients call the registry [default: as --server does]
    #[arg(long, value_name = "HOST", requires = "output")]
    registry: Option<String>,
    /// What to call the Kubernetes Secret [default: the robot's name]
    #[arg(long, value_name = "NAME", requires = "output")]
    secret_name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A ~/.docker/config.json
    Dockerconfigjson,
    /// REGISTRY, REGISTRY_USERNAME and REGISTRY_PASSWORD, for a shell to read
    Env,
    /// A Secret of the type kubernetes.io/dockerconfigjson
    KubernetesSecret,
}

/// With what a robot logs in where.
pub(super) struct Credentials<'a> {
    pub(super) registry: &'a str,
    pub(super) name: &'a str,
    pub(super) secret: &'a Secret,
}

impl Output {
    /// What is to be printed, if a form was asked for.
    pub(super) fn text(&self, credentials: &Credentials<'_>) -> Option<String> {
        let credentials = Credentials {
            registry: self.registry.as_deref().unwrap_or(credentials.registry),
            ..*credentials
        };
        Some(match self.output? {
            Format::Dockerconfigjson => format!("{}\n", docker_config(&credentials)),
            Format::Env => env(&credentials),
            Format::KubernetesSecret => {
                let name = self.secret_name.clone();
                kubernetes_secret(&credentials, &name.unwrap_or_else(|| label(credentials.name)))
            }
        })
    }
}

fn docker_config(credentials: &Credentials<'_>) -> String {
    let Credentials {
        registry,
        name,
        secret,
    } = credentials;
    let shown = STANDARD.encode(format!("{name}:{}", secret.reveal()));
    json!({ "auths": { *registry: { "auth": shown } } }).to_string()
}

/// In single quotes, since a robot's name has a `$` in it.
fn env(credentials: &Credentials<'_>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    format!(
        "REGISTRY={}\nREGISTRY_USERNAME={}\nREGISTRY_PASSWORD={}\n",
        quoted(credentials.registry),
        quoted(credentials.name),
        quoted(credentials.secret.reveal())
    )
}

fn kubernetes_secret(credentials: &Credentials<'_>, name: &str) -> String {
    let config = STANDARD.encode(docker_config(credentials));
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\ntype: kubernetes.io/dockerconfigjson\ndata:\n  \
         .dockerconfigjson: {config}\n",
        // What is JSON is YAML.
        json!(name)
    )
}

/// A name as Kubernetes takes it (RFC 1123), from a robot's.
fn label(name: &str) -> String {
    let mut label = String::new();
    for letter in name.chars() {
        match letter {
            'a'..='z' | '0'..='9' => label.push(letter),
            _ if !label.ends_with('-') => label.push('-'),
            _ => {}
        }
    }
    label.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn text(format: Format, secret: &str) -> String {
        let output = Output {
            output: Some(format),
            registry: None,
            secret_name: None,
        };
        let secret = Secret::new(secret);
        let credentials = Credentials {
            registry: "registry.test:5000",
            name: "robot$shop+ci",
            secret: &secret,
        };
        output.text(&credentials).unwrap()
    }

    #[test]
    fn a_shell_reads_name_and_secret_as_they_are() {
        let lines = text(Format::Env, "it's $1");
        assert_eq!(
            lines,
            "REGISTRY='registry.test:5000'\nREGISTRY_USERNAME='robot$shop+ci'\nREGISTRY_PASSWORD='it'\\''s $1'\n"
        );
    }

    #[test]
    fn docker_and_kubernetes_find_the_same_entry() {
        let config = text(Format::Dockerconfigjson, "Secret1");
        let read: Value = serde_json::from_str(&config).unwrap();
        let shown = read["auths"]["registry.test:5000"]["auth"].as_str().unwrap();
        assert_eq!(STANDARD.decode(shown).unwrap(), b"robot$shop+ci:Secret1");

        let secret = text(Format::KubernetesSecret, "Secret1");
        assert!(secret.contains("\n  name: \"robot-shop-ci\"\n"), "{secret}");
        let (_, data) = secret.split_once(".dockerconfigjson: ").unwrap();
        assert_eq!(STANDARD.decode(data.trim()).unwrap(), config.trim().as_bytes());
    }
}
