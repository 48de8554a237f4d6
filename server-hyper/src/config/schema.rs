//! The keys, their types, their defaults, and what must hold between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use registry_core::Verify;
use registry_core::store::Lifetimes;
use registry_gc::ScrubOptions;
use registry_storage::kv::{EngineKind, OpenError};

use super::explain::Problem;
use super::value::{ADDRESS, Kind, Value, quote, words};
use crate::server::Limits;
use crate::stores::StoreOptions;
use crate::tls::TlsError;

/// Everything that `berth` can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the registry listens.
    pub listen: Vec<SocketAddr>,
    /// The directory for records and blobs.
    pub data: PathBuf,
    /// Keep everything in memory instead.
    pub memory: bool,
    /// Serve whoever asks.
    pub allow_anonymous: bool,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// What keeps the records.
    pub records_engine: EngineKind,
    /// How many reads of blobs are checked against the digest.
    pub verify: Verify,
    /// TLS.
    pub tls: TlsConfig,
    /// Where `/metrics`, `/healthz`, `/readyz` and `/control` are.
    pub admin_listen: AdminListen,
    /// Whether they are there over TLS.
    pub admin_tls: bool,
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

/// The keys of `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file with the server's certificate and its issuers.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
    /// How often to look whether they changed.
    pub reload: Duration,
}

impl TlsConfig {
    /// The key that names the file an error is about.
    pub fn key_of(&self, error: &TlsError) -> &'static str {
        match self.key.as_deref() == Some(error.path()) {
            true => "tls.key",
            false => "tls.certificate",
        }
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectorConfig {
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

/// How often a full pass of the scrub begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubInterval {
    /// Never.
    Off,
    /// This long after the one before began.
    Every(Duration),
}

impl Value for ScrubInterval {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        format!("\"off\", or {}", Duration::ZERO.allowed())
    }

    fn set(&mut self, text: &str) -> bool {
        let mut interval = Duration::ZERO;
        *self = match text {
            "off" => ScrubInterval::Off,
            text if interval.set(text) => ScrubInterval::Every(interval),
            _ => return false,
        };
        true
    }

    fn show(&self) -> String {
        match self {
            ScrubInterval::Off => quote("off"),
            ScrubInterval::Every(interval) => interval.show(),
        }
    }
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, a crash of the machine, and a power cut.
    Strict,
    /// The end of the process; of a crash of the machine or a power cut, only records.
    Relaxed,
}

words!(Durability { "strict" => Durability::Strict, "relaxed" => Durability::Relaxed });

impl Durability {
    /// What it promises, and what it gives up, in a sentence.
    pub fn promise(self) -> &'static str {
        match self {
            Durability::Strict => {
                "strict; what is acknowledged was synced to the disk, and survives a crash and a power cut"
            }
            Durability::Relaxed => {
                "relaxed; what is acknowledged survives the end of berth, but blobs pushed shortly before a crash of \
                 the machine or a power cut may be unknown afterwards, until they are pushed again"
            }
        }
    }
}

impl From<Durability> for registry_storage::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Strict => registry_storage::Durability::Strict,
            Durability::Relaxed => registry_storage::Durability::Relaxed,
        }
    }
}

words!(EngineKind { "lmdb" => EngineKind::Lmdb, "sled" => EngineKind::Sled });
words!(Verify {
    "off" => Verify::Off,
    "sampled" => Verify::Sampled,
    "full" => Verify::Full,
});

/// Who reads the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// People if standard error is a terminal, machines otherwise.
    Auto,
    /// People.
    Human,
    /// Machines.
    Json,
}

words!(LogFormat { "auto" => LogFormat::Auto, "human" => LogFormat::Human, "json" => LogFormat::Json });

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What somebody must look at.
    Error,
    /// And what may become that.
    Warn,
    /// And each request.
    Info,
    /// And each connection that fails.
    Debug,
    /// Everything, of libraries too.
    Trace,
}

words!(Level {
    "error" => Level::Error,
    "warn" => Level::Warn,
    "info" => Level::Info,
    "debug" => Level::Debug,
    "trace" => Level::Trace,
});

/// Where operators ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// Port 5001 of loopback; a port that the system chooses if it chooses that of `listen` too.
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Value for AdminListen {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        format!("\"auto\", \"off\", or {ADDRESS}")
    }

    fn set(&mut self, text: &str) -> bool {
        *self = match text {
            "auto" => AdminListen::Auto,
            "off" => AdminListen::Off,
            address => match address.parse() {
                Ok(address) => AdminListen::At(address),
                Err(_) => return false,
            },
        };
        true
    }

    fn show(&self) -> String {
        match self {
            AdminListen::Auto => quote("auto"),
            AdminListen::Off => quote("off"),
            AdminListen::At(address) => quote(&address.to_string()),
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
            durability: Durability::Strict,
            records_engine: EngineKind::Lmdb,
            verify: Verify::default(),
            tls: TlsConfig {
                certificate: None,
                key: None,
                reload: Duration::from_secs(60),
            },
            admin_listen: AdminListen::Auto,
            admin_tls: false,
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
        visit("durability", &mut self.durability);
        visit("records.engine", &mut self.records_engine);
        visit("blobs.verify", &mut self.verify);
        visit("tls.certificate", &mut self.tls.certificate);
        visit("tls.key", &mut self.tls.key);
        visit("tls.reload", &mut self.tls.reload);
        visit("admin.listen", &mut self.admin_listen);
        visit("admin.tls", &mut self.admin_tls);
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
            interval,
            workers,
            rate,
            untagged,
        } = self.collector;
        registry_gc::Settings {
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

    /// What cannot be so, beyond what each value allows: key and reason.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut claim = |holds: bool, key, why: String| {
            if !holds {
                found.push((key, why));
            }
        };
        let tls = &self.tls;
        claim(
            tls.certificate.is_none() || tls.key.is_some(),
            "tls.certificate",
            "a certificate needs its key; set tls.key too".into(),
        );
        claim(
            tls.key.is_none() || tls.certificate.is_some(),
            "tls.key",
            "a key needs its certificate; set tls.certificate too".into(),
        );
        claim(
            !self.admin_tls || tls.certificate.is_some(),
            "admin.tls",
            "TLS needs a certificate; set tls.certificate too".into(),
        );
        let limits = &self.limits;
        for (key, value, least, most) in [
            ("limits.connections", limits.connections, 1, 1_000_000),
            ("limits.header_bytes", limits.header_bytes, 8192, 1 << 20),
            ("limits.streams", limits.streams, 1, 10_000),
            ("limits.reset_streams", limits.reset_streams, 1, 10_000),
            ("limits.page_size", limits.page_size, 1, 10_000),
            ("collector.workers", self.collector.workers, 1, 1000),
        ] {
            claim(
                (least..=most).contains(&value),
                key,
                format!("{value} is not between {least} and {most}"),
            );
        }
        let lifetimes = &self.lifetimes;
        for (key, value) in [
            ("tls.reload", tls.reload),
            ("limits.header_timeout", limits.header_timeout),
            ("limits.body_idle_timeout", limits.body_idle_timeout),
            ("lifetimes.grace", lifetimes.grace),
            ("lifetimes.bucket", lifetimes.bucket),
            ("lifetimes.second_delay", lifetimes.second_delay),
            ("lifetimes.upload_idle", lifetimes.upload_idle),
            ("lifetimes.longest_write", lifetimes.longest_write),
            ("lifetimes.longest_read", lifetimes.longest_read),
            ("collector.interval", self.collector.interval),
        ] {
            claim(!value.is_zero(), key, "must be longer than nothing".into());
        }
        claim(
            self.collector.untagged.is_none_or(|kept| !kept.is_zero()),
            "collector.untagged",
            "must be longer than nothing; \"\" keeps them for ever".into(),
        );
        claim(
            self.scrub.rate >= 1024,
            "scrub.rate",
            format!(
                "{} is less than 1024 bytes per second; to have no scrub, set scrub.interval = \"off\"",
                self.scrub.rate
            ),
        );
        claim(
            self.scrub.interval != ScrubInterval::Every(Duration::ZERO),
            "scrub.interval",
            "must be longer than nothing".into(),
        );
        let (bucket, grace) = (lifetimes.bucket, lifetimes.grace);
        claim(
            bucket <= grace,
            "lifetimes.bucket",
            format!(
                "{} is longer than lifetimes.grace, which is {}",
                bucket.show(),
                grace.show()
            ),
        );
        let (delay, read) = (lifetimes.second_delay, lifetimes.longest_read);
        claim(
            delay >= read,
            "lifetimes.second_delay",
            format!(
                "{} is shorter than lifetimes.longest_read, which is {}",
                delay.show(),
                read.show()
            ),
        );
        found
    }

    /// Whether the registry may be opened to those who can reach it.
    ///
    /// # Errors
    /// Says what to do: there are no accounts yet, so it opens to everybody or not at all.
    pub fn admission(&self) -> Result<(), Problem> {
        if self.allow_anonymous {
            return Ok(());
        }
        let beyond = self.listen.iter().find(|address| !address.ip().is_loopback());
        Err(match beyond {
            Some(address) => Problem::of(
                "listen",
                format!(
                    "{address} can be reached from other machines, and without accounts everybody there could push, \
                     pull and delete; set `listen` to an address of loopback, or pass --allow-anonymous if all of \
                     them may"
                ),
            ),
            None => Problem::of(
                "allow_anonymous",
                "there are no accounts yet, so the registry opens to everybody who can reach it or not at all; pass \
                 --allow-anonymous (or set `allow_anonymous = true`) if all of them may push, pull and delete"
                    .to_owned(),
            ),
        })
    }
}
