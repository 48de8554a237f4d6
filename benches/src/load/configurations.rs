//! What servers are told: as their makers advise for speed where that costs no safety, and no access logs.

use std::net::SocketAddr;
use std::path::Path;

use super::tls::Files;

/// berth's arguments. Nothing else is to work in the background, and no request has its line in the log, as with the peers.
pub fn berth(tls: Option<&Files>) -> Vec<String> {
    let mut set = vec!["scrub.interval=off".to_owned(), "log.level=warn".to_owned()];
    if let Some(Files { certificate, key }) = tls {
        set.push(format!("tls.certificate={}", certificate.display()));
        set.push(format!("tls.key={}", key.display()));
    }
    set.into_iter()
        .flat_map(|one| ["--set".to_owned(), one])
        .collect()
}

/// That of distribution's registry, of either generation.
pub fn distribution(directory: &Path, address: SocketAddr, tls: Option<&Files>) -> String {
    let root = directory.join("data");
    let tls = tls.map_or_else(String::new, |Files { certificate, key }| {
        format!(
            "  tls:
    certificate: {}
    key: {}
",
            certificate.display(),
            key.display()
        )
    });
    format!(
        "version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {}
    maxthreads: 100
  cache:
    blobdescriptor: inmemory
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: {address}
{tls}",
        root.display()
    )
}

/// zot's.
pub fn zot(directory: &Path, address: SocketAddr, tls: Option<&Files>) -> String {
    let root = directory.join("data");
    let tls = tls.map_or_else(String::new, |Files { certificate, key }| {
        format!(
            r#", "tls": {{ "cert": "{}", "key": "{}" }}"#,
            certificate.display(),
            key.display()
        )
    });
    format!(
        r#"{{
  "distSpecVersion": "1.1.1",
  "storage": {{ "rootDirectory": "{}", "commit": true, "gc": false }},
  "http": {{ "address": "{}", "port": "{}"{tls} }},
  "log": {{ "level": "error" }}
}}
"#,
        root.display(),
        address.ip(),
        address.port()
    )
}

/// nginx's, which serves files.
pub fn nginx(
    directory: &Path,
    root: &Path,
    address: SocketAddr,
    tls: Option<&Files>,
    nopush: bool,
) -> String {
    let nopush = if nopush { "on" } else { "off" };
    let (directory, root) = (directory.display(), root.display());
    let listen = match tls {
        None => format!("    listen {address};\n"),
        Some(Files { certificate, key }) => format!(
            "    listen {address} ssl;
    ssl_certificate {};
    ssl_certificate_key {};
    ssl_protocols TLSv1.3;
",
            certificate.display(),
            key.display()
        ),
    };
    format!(
        "daemon off;
worker_processes auto;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type application/octet-stream;
  types {{ }}
  sendfile on;
  tcp_nopush {nopush};
  tcp_nodelay on;
  keepalive_requests 1000000000;
  open_file_cache max=10000 inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
{listen}    root {root};
  }}
}}
"
    )
}
