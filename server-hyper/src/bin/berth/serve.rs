//! `berth serve`.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use registry_gc::{Collector, Stop};
use server_hyper::admin::Admin;
use server_hyper::config::{Config, Durability, Loaded, Problem};
use server_hyper::control::{Endpoint, Socket, Token};
use server_hyper::metrics::Metrics;
use server_hyper::tls::Tls;
use server_hyper::{Handle, Server, Stores, front, logging};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::accounts;
use crate::certificate::{self, certificate};
use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
SIGTERM or SIGINT lets running requests end, for at most limits.drain; a second one stops at once. \
SIGHUP reads the certificate again.

The first start makes the administrator \"admin\", with the password that BERTH_ADMIN_PASSWORD or the file \
auth.admin_password_file says; without either, with one that is drawn and shown once.

Examples:
  berth serve
  berth serve --tls-self-signed --listen 0.0.0.0:5000     and then: berth trust
  berth serve --config /etc/berth.toml --set limits.drain=2m
  berth serve --allow-anonymous --memory --listen 127.0.0.1:0 --print-address
  BERTH_LOG__LEVEL=debug berth serve --config /etc/berth.toml")]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Print the address on standard output once connections are accepted, and nothing else there
    #[arg(long)]
    print_address: bool,
}

pub(crate) fn run(args: &Serve) -> ExitCode {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(error) => return refuse(error),
    };
    if let Err(error) = logging::init(loaded.config.log.format, loaded.config.log.level) {
        return refuse(error);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(error),
    };
    let result = runtime.block_on(serve(&loaded, args.print_address));
    // Work that blocks and that nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => refuse(problem),
    }
}

/// Threads that may wait for a disk at once. What else must wait does so in a queue: more threads make no disk faster, and each
/// has memory of its own.
const WAITING: usize = 128;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(WAITING).build()
}

/// Says why nothing is served.
fn refuse(why: impl std::fmt::Display) -> ExitCode {
    for line in why.to_string().lines() {
        eprintln!("berth: {line}");
    }
    ExitCode::FAILURE
}

/// A problem with a key, from an error and all its causes.
pub(crate) fn problem(loaded: &Loaded, key: &'static str, error: &dyn Error) -> Problem {
    loaded.locate(Problem::caused(key, error))
}

async fn serve(loaded: &Loaded, print_address: bool) -> Result<(), Problem> {
    let config = &loaded.config;
    let stores = stores(loaded)?;
    // After the stores, which nobody else has as long as they are open here.
    let tls = certificate(loaded)?;
    let metrics = Metrics::new();
    let scrubber = config.scrub.options().map(|options| stores.scrubber(options));
    if let Some(scrubber) = &scrubber {
        metrics.watch_scrub(scrubber.clone());
    }
    metrics.collector(stores.collector.clone());

    let front = match config.allow_anonymous {
        true => None,
        false => Some(Arc::new(accounts::front(loaded, &stores).await?)),
    };
    let builder = match &front {
        None => Server::builder().service(front::open(&stores, config.protocol_limits())),
        Some(front) => Server::builder().service(front.service(config.protocol_limits())),
    };
    let mut builder = builder
        .limits(config.server_limits())
        .metrics(metrics.clone())
        .log_requests(true);
    for address in &config.listen {
        builder = builder.listen(*address);
    }
    if let Some(tls) = &tls {
        builder = builder.tls(Arc::clone(tls));
    }
    let server = builder
        .bind()
        .await
        .map_err(|error| problem(loaded, "listen", &error))?;
    let handle = server.handle();
    let admin = match config.admin_address() {
        None => None,
        Some(address) => {
            let mut service = Admin::new(metrics, handle.clone(), stores.clone())
                .authority(tls.as_ref().and_then(|tls| tls.authority()));
            if let Some(token) = token(config) {
                service = service.control(Endpoint::new(token, stores.clone(), config.admin_tls));
            }
            let mut builder = Server::builder().service(service).listen(address);
            if let Some(tls) = tls.as_ref().filter(|_| config.admin_tls) {
                builder = builder.tls(Arc::clone(tls));
            }
            let admin = builder
                .bind()
                .await
                .map_err(|error| problem(loaded, "admin.listen", &error))?;
            Some(admin)
        }
    };

    outlive_file_size_limits();
    stop_on_signals(&handle, config.limits.drain).map_err(|error| problem(loaded, "limits.drain", &error))?;
    let stop_collecting = Stop::new();
    let mut background = vec![tokio::spawn(work(
        stores.collector.clone(),
        stop_collecting.clone(),
    ))];
    background.extend(front.map(|front| tokio::spawn(async move { front.sweep().await })));
    background.extend(scrubber.map(|scrubber| tokio::spawn(async move { scrubber.run().await })));
    background.extend(control(config, stores));
    if let Some(tls) = tls.clone() {
        background.push(tokio::spawn(Arc::clone(&tls).watch(config.tls.reload)));
        background.push(reload_on_hangup(tls).map_err(|error| problem(loaded, "tls.reload", &error))?);
    }
    announce(config, &server, admin.as_ref());
    let admin_url = admin.as_ref().map(|admin| {
        let scheme = if config.admin_tls { "https" } else { "http" };
        format!("{scheme}://{}", admin.local_addr())
    });
    certificate::announce(loaded, tls.as_deref(), admin_url.as_deref());
    if print_address {
        let mut out = std::io::stdout().lock();
        // Whoever started us may have stopped reading; the log has said it too.
        let _reader_gone = writeln!(out, "{}", server.local_addr()).and_then(|()| out.flush());
    }
    if let Some(admin) = admin {
        background.push(tokio::spawn(async {
            admin.serve().await;
        }));
    }

    let stopped = server.serve().await;
    stop_collecting.stop();
    for task in background {
        task.abort();
    }
    if stopped.cut_off == 0 {
        tracing::info!("stopped; every request that had begun was answered");
    } else {
        tracing::warn!(connections = stopped.cut_off, "stopped; connections were cut off");
    }
    Ok(())
}

fn stores(loaded: &Loaded) -> Result<Stores, Problem> {
    let config = &loaded.config;
    let settings = config.collector_settings();
    let keys = config
        .auth
        .keys()
        .map_err(|error| problem(loaded, "auth.sealing_key", &error))?;
    if config.memory {
        return Ok(Stores::memory(config.lifetimes)
            .collecting(settings)
            .signing(keys));
    }
    let options = config.store_options();
    #[cfg(feature = "omit-sync")]
    let options = server_hyper::omission::left_out(options).map_err(|why| Problem::of("durability", why))?;
    let stores = Stores::open(&config.data, options);
    let stores = stores.map_err(|error| problem(loaded, Config::key_of(&error), &error))?;
    Ok(stores.collecting(settings).signing(keys))
}

/// Says where the registry is, what it keeps, and how to begin.
fn announce(config: &Config, server: &Server, admin: Option<&Server>) {
    let scheme = config.scheme();
    for address in server.local_addrs() {
        tracing::info!(
            "berth {} listens at {scheme}://{address}",
            env!("CARGO_PKG_VERSION")
        );
    }
    if let Some(admin) = admin {
        let address = admin.local_addr();
        let scheme = if config.admin_tls { "https" } else { "http" };
        tracing::info!("metrics and health at {scheme}://{address}/metrics, /healthz and /readyz");
    }
    if config.memory {
        tracing::warn!("everything is kept in memory and gone when berth stops");
    } else {
        let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
        tracing::info!("records and blobs are in {}", data.display());
        if config.durability == Durability::Relaxed {
            tracing::warn!("durability: {}", config.durability.promise());
        }
    }
    let address = server.local_addr();
    if config.allow_anonymous {
        tracing::warn!("no accounts: everybody who can reach this registry may push, pull and delete");
        tracing::info!("try: docker tag alpine {address}/alpine && docker push {address}/alpine");
        return;
    }
    let beyond = server
        .local_addrs()
        .iter()
        .find(|address| !address.ip().is_loopback());
    if let (Some(beyond), "http", true) = (beyond, scheme, config.trust.proxies.is_empty()) {
        tracing::warn!("{beyond} speaks no TLS: passwords and tokens can be read on their way there");
    }
    tracing::info!("try: docker login {address}");
}

/// The signal for a file that grew to its limit, as signal(7) numbers it on the platforms that berth is built for.
/// Unhandled it ends the process.
const SIGXFSZ: i32 = 25;

/// A file that may not grow any further is the failure of one write, not the end of the server: with the signal
/// handled, the write says so.
fn outlive_file_size_limits() {
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::warn!(%error, "a file that grows to the system's limit would end the server");
    }
}

/// The first signal drains, the second stops.
fn stop_on_signals(handle: &Handle, drain: Duration) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let handle = handle.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!(
            "stopping: no new connections; running requests have {}; a second signal stops at once",
            humantime::format_duration(drain)
        );
        handle.drain(drain);
        next().await;
        tracing::warn!("stopping at once");
        handle.stop();
    });
    Ok(())
}

fn reload_on_hangup(tls: Arc<Tls>) -> std::io::Result<JoinHandle<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tls.reload_and_tell();
        }
    }))
}

/// Opens the socket in the data directory over which the registry is backed up and looked after. It can be served
/// without.
fn control(config: &Config, stores: Stores) -> Option<JoinHandle<()>> {
    if config.memory {
        return None;
    }
    match Socket::bind(&config.data) {
        Ok(socket) => Some(tokio::spawn(socket.serve(stores))),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn Error,
                "no {} in the data directory: no backup can be made while this runs",
                server_hyper::control::SOCKET
            );
            None
        }
    }
}

/// What opens `/control` on the admin listener; without a data directory to keep it in there is none. It can be served
/// without.
fn token(config: &Config) -> Option<Token> {
    if config.memory {
        return None;
    }
    Token::of(&config.data)
        .inspect_err(|error| tracing::warn!(error = error as &dyn Error, "no /control on the admin listener"))
        .ok()
}

/// Collects until told to stop, or aborted: it may be cut off anywhere.
async fn work(collector: Collector, stop: Stop) {
    collector.work(&stop).await;
}
