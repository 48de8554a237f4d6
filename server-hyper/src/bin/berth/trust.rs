//! `berth trust`.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use server_hyper::config::{Config, Loaded, certificates_in};
use server_hyper::tls::{AUTHORITY, Machine, Name, SERVER};
use server_hyper::trust::{self, Anchor, Client, Password, Place, User};

use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
What is printed is a script, for root on the client's machine. It holds no secret, unless --password-stdin asks for that. It also says \
what certificates from elsewhere (tls.certificate) need; those of authorities that systems trust need nothing.

Examples:
  berth trust --data /srv/berth --server registry.example:5000
  berth trust --data /srv/berth --server registry.example:5000 --for docker | ssh root@build-7 sh
  berth trust --config /etc/berth.toml --for kubernetes --user 'robot$ci'
  berth trust --data /srv/berth --server registry.example:5000 --json | jq -r '.authority.pem'
  curl http://127.0.0.1:5001/ca.pem > ca.pem && berth trust --ca-file ca.pem --server 127.0.0.1:5000   of one in memory")]
pub(crate) struct Trust {
    /// The configuration file that the registry is served with [env: BERTH_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The registry's data directory [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Set any key of the configuration. May be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where clients reach the registry, as their references to images begin. May be given several times [default: `listen`]
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Vec<Place>,
    /// Only for this client. May be given several times [default: all]
    #[arg(long = "for", value_name = "CLIENT", value_enum)]
    clients: Vec<For>,
    /// The name with which curl and the pull secret log in
    #[arg(long, value_name = "NAME")]
    user: Option<User>,
    /// Read the user's password, a line, and write it into the manifest of the pull secret
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// The authority of tls.certificate, a PEM file; without a certificate there, what clients are to trust
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum For {
    Docker,
    Containerd,
    Podman,
    Kubernetes,
    Curl,
    System,
}

impl From<For> for Client {
    fn from(client: For) -> Self {
        match client {
            For::Docker => Client::Docker,
            For::Containerd => Client::Containerd,
            For::Podman => Client::Podman,
            For::Kubernetes => Client::Kubernetes,
            For::Curl => Client::Curl,
            For::System => Client::System,
        }
    }
}

pub(crate) fn run(args: &Trust) -> ExitCode {
    match told(args) {
        Ok(text) => {
            // Whoever reads may have read enough.
            let _reader_gone = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("berth: {why}");
            ExitCode::FAILURE
        }
    }
}

fn told(args: &Trust) -> Result<String, String> {
    let settings = Settings::of(args.config.clone(), args.data.clone(), args.set.clone());
    let loaded = settings.load().map_err(|error| error.to_string())?;
    let places = match args.server.is_empty() {
        true => listening(&loaded.config)?,
        false => args.server.clone(),
    };
    let (anchor, server) = anchor(args, &loaded)?;
    let now = SystemTime::now();
    if let Some(server) = server.filter(|server| server.exists()) {
        let complaints = trust::covers(&server, &places, now).map_err(|error| error.to_string())?;
        for complaint in complaints {
            eprintln!("warning: {complaint}; tls.names adds names to one that berth makes");
        }
    }
    let password = match args.password_stdin {
        true => {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| format!("--password-stdin: {error}"))?;
            if line.trim_end().is_empty() {
                return Err("--password-stdin: there is no password on standard input".to_owned());
            }
            Some(Password::from_line(line))
        }
        false => None,
    };
    let clients: Vec<Client> = match args.clients.is_empty() {
        true => Client::ALL.to_vec(),
        false => args.clients.iter().map(|client| (*client).into()).collect(),
    };
    let snippets = trust::snippets(&anchor, &places, &clients, args.user.as_ref(), password.as_ref());
    if !args.json {
        return Ok(trust::script(&anchor, &snippets));
    }
    let authority = match &anchor {
        Anchor::Certificate {
            pem,
            inspected,
            fingerprint,
        } => serde_json::json!({
            "subject": inspected.subject,
            "not_after": humantime::format_rfc3339_seconds(inspected.not_after).to_string(),
            "sha256": fingerprint,
            "pem": pem,
        }),
        Anchor::System { .. } => serde_json::Value::Null,
    };
    let servers: Vec<String> = places.iter().map(Place::to_string).collect();
    let whole = serde_json::json!({ "servers": servers, "authority": authority, "snippets": snippets });
    Ok(format!("{whole}\n"))
}

/// What clients are to trust, and the server's certificate if it is in a file.
fn anchor(args: &Trust, loaded: &Loaded) -> Result<(Anchor, Option<PathBuf>), String> {
    let config = &loaded.config;
    if let Some(server) = &config.tls.certificate {
        let system = match args.ca_file {
            Some(_) => Vec::new(),
            None => rustls_native_certs::load_native_certs().certs,
        };
        let anchor = Anchor::of_server(server, args.ca_file.as_deref(), &system, SystemTime::now());
        return Ok((anchor.map_err(|error| error.to_string())?, Some(server.clone())));
    }
    if let Some(file) = &args.ca_file {
        let anchor = Anchor::in_file(file).map_err(|error| error.to_string())?;
        return Ok((anchor, None));
    }
    if config.memory {
        return Err(
            "everything is kept in memory, the certificate authority too: fetch /ca.pem from the admin listener, and name \
             that file with --ca-file"
                .to_owned(),
        );
    }
    let directory = certificates_in(&config.data);
    let file = directory.join(AUTHORITY);
    if !file.exists() {
        let data = config.data.display();
        return Err(match config.tls.self_signed {
            true => format!("{}: is not there yet; start `berth serve` first", file.display()),
            false => format!(
                "{}: is not there, and there is no tls.certificate, so {data} is served without TLS and there is nothing to \
                 trust; to have TLS: berth serve --tls-self-signed --data {data}",
                file.display()
            ),
        });
    }
    let anchor = Anchor::in_file(&file).map_err(|error| error.to_string())?;
    Ok((anchor, Some(directory.join(SERVER))))
}

/// Where the configuration says that the registry is.
fn listening(config: &Config) -> Result<Vec<Place>, String> {
    let mut places = Vec::new();
    for address in &config.listen {
        if address.port() == 0 {
            return Err(
                "`listen` leaves the port to the system; say with --server where clients reach the registry"
                    .to_owned(),
            );
        }
        let host = match address.ip().is_unspecified() {
            true => Machine::this()
                .host
                .unwrap_or_else(|| Name::Dns("localhost".to_owned())),
            false => Name::Ip(address.ip()),
        };
        let place = Place::new(host, Some(address.port()).filter(|port| *port != 443));
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}
