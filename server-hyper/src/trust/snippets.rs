//! What each client wants where.

use std::fmt::Write as _;

use serde::Serialize;

use super::pull_secret::{self, Password, User};
use super::{Anchor, Place};

/// Those that know registries by their certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// dockerd.
    Docker,
    /// containerd, with nerdctl, ctr and the kubelet on it.
    Containerd,
    /// podman, buildah, skopeo and CRI-O.
    Podman,
    /// Pull secrets of a cluster.
    Kubernetes,
    /// curl.
    Curl,
    /// All that use what the system trusts.
    System,
}

impl Client {
    /// Each of them.
    pub const ALL: [Client; 6] = [
        Client::Docker,
        Client::Containerd,
        Client::Podman,
        Client::System,
        Client::Curl,
        Client::Kubernetes,
    ];

    fn title(self) -> &'static str {
        match self {
            Client::Docker => "docker",
            Client::Containerd => "containerd, and nerdctl, ctr and Kubernetes on it",
            Client::Podman => "podman, buildah, skopeo, and CRI-O",
            Client::Kubernetes => "Kubernetes: a pull secret",
            Client::Curl => "curl",
            Client::System => "everything that trusts what the system trusts",
        }
    }
}

/// A file that is to be there.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Where; without a slash at its beginning, in the directory in which the rest is done.
    pub path: String,
    /// What is in it.
    pub content: String,
    /// Its permissions, as chmod(2) has them.
    pub mode: u32,
}

impl std::fmt::Debug for Target {
    /// Without the content, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What one client wants: the files first, then the commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// Whom it is for.
    pub client: Client,
    /// What to know about it.
    pub notes: Vec<String>,
    /// The files.
    pub files: Vec<Target>,
    /// The commands, for a POSIX shell.
    pub commands: Vec<String>,
}

/// What `clients` want to reach a registry at `places`, of which there is at least one, whose certificate leads to `anchor`.
/// With a password, the manifest of a pull secret has it.
pub fn snippets(
    anchor: &Anchor,
    places: &[Place],
    clients: &[Client],
    user: Option<&User>,
    password: Option<&Password>,
) -> Vec<Snippet> {
    let clients = clients.iter();
    clients
        .map(|client| snippet(*client, anchor, places, user, password))
        .collect()
}

fn snippet(
    client: Client,
    anchor: &Anchor,
    places: &[Place],
    user: Option<&User>,
    password: Option<&Password>,
) -> Snippet {
    let mut snippet = Snippet {
        client,
        notes: Vec::new(),
        files: Vec::new(),
        commands: Vec::new(),
    };
    let needed = match anchor {
        Anchor::Certificate { pem, .. } => Some(pem.as_str()),
        Anchor::System { .. } => None,
    };
    let mut note = |text: &str| snippet.notes.push(text.to_owned());
    match (client, needed) {
        (Client::Kubernetes, _) => {
            let named = user.cloned();
            let user = named.unwrap_or_else(|| "NAME".parse().expect("this is a name"));
            note("The secret is for one namespace; the manifest does the same as the command before it.");
            if needed.is_some() {
                note(
                    "Each node has to trust the certificate as well, as root: berth trust --for containerd, or of CRI-O \
                     --for podman.",
                );
            }
            match password {
                Some(_) => snippet
                    .commands
                    .push("kubectl apply -f berth-pull-secret.yaml".to_owned()),
                None => {
                    snippet
                        .notes
                        .push("In the manifest, replace PASSWORD.".to_owned());
                    snippet.commands.push(pull_secret::command(places, &user));
                }
            }
            snippet.files.push(pull_secret::manifest(places, &user, password));
            snippet.commands.push(pull_secret::patch());
        }
        (Client::Curl, _) => {
            let file = match anchor {
                Anchor::Certificate { .. } => format!(" --cacert {}", file_name(anchor)),
                Anchor::System { .. } => String::new(),
            };
            let user = user.map_or_else(String::new, |user| {
                format!(" --user {}", quoted(&user.to_string()))
            });
            if !user.is_empty() {
                note("It asks for the password.");
            }
            for place in places {
                let url = quoted(&format!("https://{place}/v2/"));
                snippet.commands.push(format!("curl{file}{user} {url}"));
            }
        }
        (_, None) => note("Nothing to do: the system trusts the certificate."),
        (Client::Docker, Some(pem)) => {
            note(
                "The name must end in .crt: docker takes .cert for a client's certificate. Nothing needs a restart.",
            );
            note("Rootless docker looks in ~/.config/docker/certs.d, Docker Desktop in ~/.docker/certs.d.");
            for place in places {
                snippet
                    .files
                    .push(public(format!("/etc/docker/certs.d/{place}/ca.crt"), pem));
            }
        }
        (Client::Podman, Some(pem)) => {
            note("Nothing needs a restart. Without root: ~/.config/containers/certs.d.");
            for place in places {
                snippet
                    .files
                    .push(public(format!("/etc/containers/certs.d/{place}/ca.crt"), pem));
            }
        }
        (Client::Containerd, Some(pem)) => {
            note(
                "config_path must be set in /etc/containerd/config.toml, and containerd be started again after that alone:",
            );
            note("  containerd 1: [plugins.\"io.containerd.grpc.v1.cri\".registry]");
            note("  containerd 2: [plugins.\"io.containerd.cri.v1.images\".registry]");
            note("                  config_path = \"/etc/containerd/certs.d\"");
            note(
                "Beside it there must be no registry.mirrors and no registry.configs. ctr wants --hosts-dir /etc/containerd/certs.d.",
            );
            for place in places {
                let directory = format!("/etc/containerd/certs.d/{place}");
                snippet.files.push(public(format!("{directory}/ca.crt"), pem));
                let hosts = format!(
                    "server = \"https://{place}\"\n\n[host.\"https://{place}\"]\n  \
                     capabilities = [\"pull\", \"resolve\", \"push\"]\n  ca = \"{directory}/ca.crt\"\n"
                );
                snippet
                    .files
                    .push(public(format!("{directory}/hosts.toml"), &hosts));
            }
        }
        (Client::System, Some(_)) => {
            note(
                "What runs already has to be started again: docker and containerd look at these when they start.",
            );
            let file = file_name(anchor);
            snippet.commands.push(format!(
                "if command -v update-ca-certificates >/dev/null; then     # Debian, Ubuntu, Alpine\n  \
                 install -D -m 0644 {file} /usr/local/share/ca-certificates/{file} && update-ca-certificates\n\
                 else                                                   # Fedora, RHEL\n  \
                 install -D -m 0644 {file} /etc/pki/ca-trust/source/anchors/{file} && update-ca-trust\nfi"
            ));
        }
    }
    // Those whose commands name it find it where they are run.
    if let (Client::Curl | Client::System, Some(pem)) = (client, needed) {
        snippet.files.push(public(file_name(anchor), pem));
    }
    snippet
}

fn public(path: String, content: &str) -> Target {
    Target {
        path,
        content: content.to_owned(),
        mode: 0o644,
    }
}

/// What the authority's certificate is called on a client: by its fingerprint, as a client may trust several.
fn file_name(anchor: &Anchor) -> String {
    match anchor {
        Anchor::Certificate { fingerprint, .. } => format!("berth-ca-{}.crt", &fingerprint[..8]),
        Anchor::System { .. } => String::new(),
    }
}

/// A shell script that does what the snippets say, for root on the client's machine.
pub fn script(anchor: &Anchor, snippets: &[Snippet]) -> String {
    let mut text = String::new();
    let saved = file_name(anchor);
    let is_anchor =
        |target: &Target| matches!(anchor, Anchor::Certificate { pem, .. } if *pem == target.content);
    let is_used = snippets.iter().any(|snippet| snippet.files.iter().any(is_anchor));
    match anchor {
        Anchor::Certificate {
            pem,
            inspected,
            fingerprint,
        } if is_used => {
            let _ = writeln!(
                text,
                "# On the client's machine, as root. The certificate to trust: {}, good until {}\n# SHA-256 {fingerprint}",
                inspected.subject,
                humantime::format_rfc3339_seconds(inspected.not_after)
            );
            text.push_str(&here(&saved, pem, 0o644));
        }
        Anchor::Certificate { .. } => {}
        Anchor::System { issuer } => {
            let _ = writeln!(
                text,
                "# Signed by {issuer}, which this machine's system trusts: clients that do so too need nothing."
            );
        }
    }
    for snippet in snippets {
        let _ = writeln!(text, "\n# {}", snippet.client.title());
        for note in &snippet.notes {
            let _ = writeln!(text, "# {note}");
        }
        for target in &snippet.files {
            match (is_anchor(target), target.path == saved) {
                (true, true) => {}
                (true, false) => {
                    let _ = writeln!(text, "install -D -m 0644 {saved} {}", quoted(&target.path));
                }
                (false, _) => text.push_str(&here(&target.path, &target.content, target.mode)),
            }
        }
        for command in &snippet.commands {
            text.push_str(command);
            text.push('\n');
        }
    }
    text
}

/// Makes a file with this content, of which no line is `EOF`.
fn here(path: &str, content: &str, mode: u32) -> String {
    let path = quoted(path);
    match mode {
        0o600 => format!("(umask 077; cat > {path}) <<'EOF'\n{content}EOF\n"),
        _ => format!("cat > {path} <<'EOF'\n{content}EOF\n"),
    }
}

/// A text as a POSIX shell takes it as it is.
pub(super) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.:_-".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
