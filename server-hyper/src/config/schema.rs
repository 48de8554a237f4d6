//! The keys, their types, and their defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use registry_auth::origin::Trust;
use registry_core::Verify;
use registry_core::store::Lifetimes;
use registry_gc::ScrubOptions;
use registry_storage::kv::{EngineKind, OpenError};

use super::auth::AuthConfig;
use super::choices::{AdminListen, Durability, Level, LogFormat, ScrubInterval};
use super::node::Node;
use super::tls::TlsConfig;
use super::value::Value;
use crate::server::Limits;
use crate::stores::StoreOptions;

/// Everything that `berth` can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the registry listens.
    pub listen: Vec<SocketAddr>,
    /// The directory for records and blobs.
    pub data: PathBuf,
    /// Keep everything in memory instead.
    pub memory: bool,
    /// Serve whoever asks, without accounts.
    pub allow_anonymous: bool,
    /// Under which address clients know the registry, and which proxies are believed about that.
    pub trust: Trust,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// What keeps the records.
    pub records_engine: EngineKind,
    /// Bytes of manifests and small blobs that stay in memory once they were read.
    pub records_cache: u64,
    /// How many reads of blobs are checked against the digest.
    pub verify: Verify,
    /// TLS.
    pub tls: TlsConfig,
    /// Where `/metrics`, `/healthz`, `/readyz` and `/control` are.
    pub admin_listen: AdminListen,
    /// Whether they are there over TLS.
    pub admin_tls: bool,
    /// How clients log in.
    pub auth: AuthConfig,
    /// Logs.
    pub log: LogConfig,
    /// What clients must not exceed.
    pub limits: LimitsConfig,
    /// How long things are kept that nothing points at.
    pub lifetimes: Lifetimes,
    /// Giving back what nothing names.
    pub collector: CollectorConfig,
    /// Reading again what is stored.
    pub scrub: ScrubConfig,
}

/// The keys of `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// For whom.
    pub format: LogFormat,
    /// How much.
    pub level: Level,
}

/// The keys of `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open connections.
    pub connections: u32,
    /// Time for a handshake, and for a request's head.
    pub header_timeout: Duration,
    /// Bytes of a request's head.
    pub header_bytes: u32,
    /// Time that a body may stand still, either way.
    pub body_idle_timeout: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Requests that one HTTP/2 connection may have reset without their being put away.
    pub reset_streams: u32,
    /// Entries of a list if the client names no number.
    pub page_size: u32,
    /// Time for running requests at the end.
    pub drain: Duration,
}

/// The keys of `collector`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorConfig {
    /// What this node is called.
    pub node: Node,
    /// The longest between two looks at the queue.
    pub interval: Duration,
    /// Steps at once.
    pub workers: u32,
    /// Steps in a second; 0 for as many as go.
    pub rate: u32,
    /// How long a manifest is kept to which no tag points; none for ever.
    pub untagged: Option<Duration>,
}

/// The keys of `scrub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// Bytes per second at most.
    pub rate: u64,
    /// How often a full pass begins.
    pub interval: ScrubInterval,
}

impl ScrubConfig {
    /// How to scrub, if at all.
    pub fn options(&self) -> Option<ScrubOptions> {
        match self.interval {
            ScrubInterval::Off => None,
            ScrubInterval::Every(interval) => Some(ScrubOptions {
                rate: NonZeroU64::new(self.rate)?,
                interval,
            }),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        let collector = registry_gc::Settings::default();
        Config {
            listen: vec![(Ipv4Addr::LOCALHOST, 5000).into()],
            data: "./data".into(),
            memory: false,
            allow_anonymous: false,
            trust: Trust::default(),
            durability: Durability::Strict,
            records_engine: EngineKind::Lmdb,
            records_cache: registry_core::Options::default().cache as u64,
            verify: Verify::default(),
            tls: TlsConfig {
                certificate: None,
                key: None,
                self_signed: false,
                names: Vec::new(),
                reload: Duration::from_secs(60),
            },
            admin_listen: AdminListen::Auto,
            admin_tls: false,
            auth: AuthConfig::default(),
            log: LogConfig {
                format: LogFormat::Auto,
                level: Level::Info,
            },
            limits: LimitsConfig {
                connections: limits.connections as u32,
                header_timeout: limits.header_timeout,
                header_bytes: limits.header_bytes as u32,
                body_idle_timeout: limits.body_idle_timeout,
                streams: limits.streams,
                reset_streams: limits.reset_streams as u32,
                page_size: 1000,
                drain: Duration::from_secs(30),
            },
            lifetimes: Lifetimes::default(),
            collector: CollectorConfig {
                node: Node::default(),
                interval: collector.interval,
                workers: collector.workers as u32,
                rate: collector.rate.unwrap_or(0),
                untagged: collector.policy.untagged,
            },
            scrub: ScrubConfig {
                rate: ScrubOptions::default().rate.get(),
                interval: ScrubInterval::Every(ScrubOptions::default().interval),
            },
        }
    }
}

impl Config {
    /// Shows every key and its value to `visit`, in the order of the example file: the one list of keys.
    pub fn each(&mut self, visit: &mut dyn FnMut(&'static str, &mut dyn Value)) {
        visit("listen", &mut self.listen);
        visit("data", &mut self.data);
        visit("memory", &mut self.memory);
        visit("allow_anonymous", &mut self.allow_anonymous);
        visit("external_url", &mut self.trust.external);
        visit("trusted_proxies", &mut self.trust.proxies);
        visit("durability", &mut self.durability);
        visit("records.engine", &mut self.records_engine);
        visit("records.cache", &mut self.records_cache);
        visit("blobs.verify", &mut self.verify);
        visit("tls.certificate", &mut self.tls.certificate);
        visit("tls.key", &mut self.tls.key);
        visit("tls.self_signed", &mut self.tls.self_signed);
        visit("tls.names", &mut self.tls.names);
        visit("tls.reload", &mut self.tls.reload);
        visit("admin.listen", &mut self.admin_listen);
        visit("admin.tls", &mut self.admin_tls);
        self.auth.each(visit);
        visit("log.format", &mut self.log.format);
        visit("log.level", &mut self.log.level);
        visit("limits.connections", &mut self.limits.connections);
        visit("limits.header_timeout", &mut self.limits.header_timeout);
        visit("limits.header_bytes", &mut self.limits.header_bytes);
        visit("limits.body_idle_timeout", &mut self.limits.body_idle_timeout);
        visit("limits.streams", &mut self.limits.streams);
        visit("limits.reset_streams", &mut self.limits.reset_streams);
        visit("limits.page_size", &mut self.limits.page_size);
        visit("limits.drain", &mut self.limits.drain);
        visit("lifetimes.grace", &mut self.lifetimes.grace);
        visit("lifetimes.bucket", &mut self.lifetimes.bucket);
        visit("lifetimes.second_delay", &mut self.lifetimes.second_delay);
        visit("lifetimes.upload_idle", &mut self.lifetimes.upload_idle);
        visit("lifetimes.longest_write", &mut self.lifetimes.longest_write);
        visit("lifetimes.longest_read", &mut self.lifetimes.longest_read);
        visit("lifetimes.undo", &mut self.lifetimes.undo);
        visit("collector.node", &mut self.collector.node);
        visit("collector.interval", &mut self.collector.interval);
        visit("collector.workers", &mut self.collector.workers);
        visit("collector.rate", &mut self.collector.rate);
        visit("collector.untagged", &mut self.collector.untagged);
        visit("scrub.rate", &mut self.scrub.rate);
        visit("scrub.interval", &mut self.scrub.interval);
    }

    /// The names of all keys.
    pub fn keys() -> Vec<&'static str> {
        let mut keys = Vec::new();
        Config::default().each(&mut |key, _| keys.push(key));
        keys
    }

    /// Each key with its value as the file would write it.
    pub fn show(&self) -> Vec<(&'static str, String)> {
        let mut shown = Vec::new();
        self.clone()
            .each(&mut |key, value| shown.push((key, value.show())));
        shown
    }

    /// How the registry behaves.
    fn registry_options(&self) -> registry_core::Options {
        registry_core::Options {
            verify: self.verify,
            cache: usize::try_from(self.records_cache).unwrap_or(usize::MAX),
            ..Default::default()
        }
    }

    /// What the server enforces.
    pub fn server_limits(&self) -> Limits {
        Limits {
            connections: self.limits.connections as usize,
            header_timeout: self.limits.header_timeout,
            header_bytes: self.limits.header_bytes as usize,
            body_idle_timeout: self.limits.body_idle_timeout,
            streams: self.limits.streams,
            reset_streams: self.limits.reset_streams as usize,
        }
    }

    /// How the stores are kept.
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions {
            lifetimes: self.lifetimes,
            engine: self.records_engine,
            durability: self.durability.into(),
            registry: self.registry_options(),
            keep_format: false,
        }
    }

    /// How the collector works.
    pub fn collector_settings(&self) -> registry_gc::Settings {
        let CollectorConfig {
            ref node,
            interval,
            workers,
            rate,
            untagged,
        } = self.collector;
        registry_gc::Settings {
            node: node.name((!self.memory).then_some(&self.data)),
            interval,
            workers: workers as usize,
            rate: (rate > 0).then_some(rate),
            policy: registry_gc::Policy { untagged },
            ..registry_gc::Settings::default()
        }
    }

    /// The key that an error of opening the stores is about.
    pub fn key_of(error: &OpenError) -> &'static str {
        match error {
            OpenError::OtherEngine { .. } => "records.engine",
            _ => "data",
        }
    }

    /// What the protocol enforces.
    pub fn protocol_limits(&self) -> registry_core::http::Limits {
        registry_core::http::Limits {
            body_idle: self.limits.body_idle_timeout,
            page_default: self.limits.page_size as usize,
            ..Default::default()
        }
    }

    /// Where operators ask, if anywhere.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        match self.admin_listen {
            AdminListen::Off => None,
            AdminListen::At(address) => Some(address),
            AdminListen::Auto => {
                let chosen = self.listen.iter().any(|address| address.port() == 0);
                Some((Ipv4Addr::LOCALHOST, if chosen { 0 } else { 5001 }).into())
            }
        }
    }
}
