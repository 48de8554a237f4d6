//! The values of keys that are a choice of words.

use std::net::SocketAddr;
use std::time::Duration;

use registry_core::Verify;
use registry_storage::kv::EngineKind;

use super::value::{ADDRESS, Kind, Value, quote, words};

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
