//! Values of the configuration: each is one text, whichever source it comes from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a value is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In quotes.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number,
    /// Texts in brackets, or one text; elsewhere separated by commas.
    List,
}

/// A value that can be read from a text and shown as one.
pub trait Value {
    /// How the file writes it.
    fn kind(&self) -> Kind;

    /// What it may be, to go on from "allowed is ".
    fn allowed(&self) -> String;

    /// Takes the value that `text` says. Whether it says one.
    #[must_use]
    fn set(&mut self, text: &str) -> bool;

    /// The value as the file would write it.
    fn show(&self) -> String;
}

/// Takes a parsed value, if there is one.
fn take<T>(place: &mut T, parsed: Option<T>) -> bool {
    match parsed {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

/// A text as the file would write it.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Value for bool {
    fn kind(&self) -> Kind {
        Kind::Boolean
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        take(self, text.parse().ok())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    fn kind(&self) -> Kind {
        Kind::Number
    }

    fn allowed(&self) -> String {
        format!("a whole number up to {}", u32::MAX)
    }

    fn set(&mut self, text: &str) -> bool {
        take(self, text.replace('_', "").parse().ok())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u64 {
    fn kind(&self) -> Kind {
        Kind::Number
    }

    fn allowed(&self) -> String {
        format!("a whole number up to {}", i64::MAX)
    }

    fn set(&mut self, text: &str) -> bool {
        // No more than what the file's format can write.
        let parsed = text.replace('_', "").parse().ok();
        take(self, parsed.filter(|value| i64::try_from(*value).is_ok()))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        "a duration such as \"500ms\", \"30s\", \"5m\" or \"24h\"".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        take(self, humantime::parse_duration(text).ok())
    }

    fn show(&self) -> String {
        // Not days, months and years, of which only the first means the same to everybody.
        let seconds = self.as_secs();
        quote(&match self.subsec_nanos() {
            0 if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
            0 if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
            _ => humantime::format_duration(*self).to_string(),
        })
    }
}

/// A duration that may be left out, which an empty text says.
impl Value for Option<Duration> {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        format!("{}, or \"\" for none", Duration::ZERO.allowed())
    }

    fn set(&mut self, text: &str) -> bool {
        if text.is_empty() {
            *self = None;
            return true;
        }
        let mut duration = Duration::ZERO;
        let says = duration.set(text);
        if says {
            *self = Some(duration);
        }
        says
    }

    fn show(&self) -> String {
        self.map_or_else(|| quote(""), |duration| duration.show())
    }
}

impl Value for String {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        "a text".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        text.clone_into(self);
        true
    }

    fn show(&self) -> String {
        quote(self)
    }
}

impl Value for PathBuf {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        "a path".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        take(self, (!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(&self) -> String {
        quote(&self.display().to_string())
    }
}

/// A path that may be left out, which an empty text says.
impl Value for Option<PathBuf> {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        "a path, or \"\" for none".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        *self = (!text.is_empty()).then(|| PathBuf::from(text));
        true
    }

    fn show(&self) -> String {
        quote(
            &self
                .as_deref()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        )
    }
}

/// What an address looks like, for messages.
pub(super) const ADDRESS: &str = "an address and a port, such as \"127.0.0.1:5000\" or \"[::1]:5000\"";

impl Value for Vec<SocketAddr> {
    fn kind(&self) -> Kind {
        Kind::List
    }

    fn allowed(&self) -> String {
        format!("{ADDRESS}, or several of them")
    }

    fn set(&mut self, text: &str) -> bool {
        let parsed: Result<Vec<SocketAddr>, _> = text.split(',').map(|one| one.trim().parse()).collect();
        take(self, parsed.ok())
    }

    fn show(&self) -> String {
        let all: Vec<String> = self.iter().map(|one| quote(&one.to_string())).collect();
        format!("[{}]", all.join(", "))
    }
}

/// One of a few words, each of which stands for a value of `$type`.
macro_rules! words {
    ($type:ty { $($word:literal => $value:path),+ $(,)? }) => {
        impl Value for $type {
            fn kind(&self) -> Kind {
                Kind::Text
            }

            fn allowed(&self) -> String {
                match [$(concat!("\"", $word, "\"")),+].as_slice() {
                    [only] => (*only).to_owned(),
                    words => format!("one of {}", words.join(", ")),
                }
            }

            fn set(&mut self, text: &str) -> bool {
                match text {
                    $($word => *self = $value,)+
                    _ => return false,
                }
                true
            }

            fn show(&self) -> String {
                quote(match self {
                    $($value => $word),+
                })
            }
        }
    };
}
pub(super) use words;
