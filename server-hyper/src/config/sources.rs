//! Reading the file, the environment and the flags into one [`Config`].

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::explain::{ConfigError, Problem, Source, nearest, unknown};
use super::schema::Config;
use super::value::Kind;

/// Begins the name of each variable.
const PREFIX: &str = "BERTH_";
/// The variable that names the file, which is no key of the file itself.
const CONFIG: &str = "BERTH_CONFIG";
/// The variable that holds the token with which commands talk to a server; it is no key either.
pub const CONTROL_TOKEN: &str = "BERTH_CONTROL_TOKEN";
/// The variables that say which server commands ask, and as whom; no keys either.
pub const SERVER: &str = "BERTH_SERVER";
/// The name to log in with there.
pub const USERNAME: &str = "BERTH_USERNAME";
/// The password.
pub const PASSWORD: &str = "BERTH_PASSWORD";
/// Variables that are no keys of the configuration.
const OTHERS: [&str; 6] = [
    CONFIG,
    CONTROL_TOKEN,
    registry_auth::ADMIN_PASSWORD,
    SERVER,
    USERNAME,
    PASSWORD,
];

/// A value given as a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it is written, `--listen`.
    pub name: String,
    /// The key that it sets.
    pub key: String,
    /// The value as the environment would write it.
    pub value: String,
}

/// A configuration and where it is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The sources of the values that are not by default.
    pub sources: HashMap<&'static str, Source>,
}

impl Loaded {
    /// The problem with the source of its key added.
    pub fn locate(&self, mut problem: Problem) -> Problem {
        if problem.source.is_none() {
            problem.source = problem.key.and_then(|key| self.sources.get(key)).cloned();
        }
        problem
    }
}

/// Reads the configuration: defaults, then the file, then variables, then flags. Without `file`, the variable
/// `BERTH_CONFIG` names it; without that, there is none.
///
/// # Errors
/// All that is wrong, not only the first thing.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[Flag],
) -> Result<Loaded, ConfigError> {
    let mut variables: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort();
    let named = variables
        .iter()
        .find(|(name, _)| name == CONFIG)
        .map(|(_, value)| PathBuf::from(value));
    variables.retain(|(name, _)| !OTHERS.contains(&name.as_str()));
    #[cfg(feature = "omit-sync")]
    variables.retain(|(name, _)| name != crate::omission::VARIABLE);
    let file = file.map(Path::to_owned).or(named);

    let mut reader = Reader::default();
    if let Some(path) = &file {
        reader.file(path);
    }
    for (name, value) in variables {
        reader.variable(name, value);
    }
    for flag in flags {
        reader.flag(flag);
    }
    reader.finish(file)
}

#[derive(Default)]
struct Reader {
    config: Config,
    sources: HashMap<&'static str, Source>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Sets a key that exists from a text, as the environment and the flags give it.
    fn set(&mut self, key: &'static str, text: &str, source: Source) {
        let mut problem = None;
        self.config.each(&mut |candidate, value| {
            if candidate == key && !value.set(text) {
                problem = Some(format!("{text:?} is not allowed; allowed is {}", value.allowed()));
            }
        });
        match problem {
            Some(message) => self.refuse(key, source, message),
            None => {
                self.sources.insert(key, source);
            }
        }
    }

    fn refuse(&mut self, key: &'static str, source: Source, message: String) {
        self.problems.push(Problem {
            source: Some(source),
            key: Some(key),
            message,
        });
    }

    fn variable(&mut self, name: String, value: OsString) {
        let keys = Config::keys();
        let Some(key) = keys.iter().find(|key| variable_name(key) == name) else {
            let mut known: Vec<String> = keys.iter().map(|key| variable_name(key)).collect();
            known.push(CONFIG.to_owned());
            let meant = nearest(&name, known.iter().map(String::as_str));
            let message = unknown("environment variable", &name, meant);
            self.problems.push(Problem {
                source: None,
                key: None,
                message,
            });
            return;
        };
        match value.into_string() {
            Ok(value) => self.set(key, &value, Source::Variable(name)),
            Err(_) => self.refuse(key, Source::Variable(name), "the value is not UTF-8".to_owned()),
        }
    }

    fn flag(&mut self, flag: &Flag) {
        let keys = Config::keys();
        let source = Source::Flag(flag.name.clone());
        match keys.iter().find(|key| **key == flag.key) {
            Some(key) => self.set(key, &flag.value, source),
            None => {
                let message = unknown("key", &flag.key, nearest(&flag.key, keys.iter().copied()));
                self.problems.push(Problem::at(source, message));
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("{}: cannot be read: {error}", path.display());
                self.problems.push(Problem {
                    source: None,
                    key: None,
                    message,
                });
                return;
            }
        };
        let place = Place { path, text: &text };
        let (table, errors) = DeTable::parse_recoverable(&text);
        if !errors.is_empty() {
            for error in errors {
                let at = error.span().map_or(0, |span| span.start);
                self.problems.push(Problem::at(
                    place.at(at),
                    format!("not TOML: {}", error.message()),
                ));
            }
            return;
        }
        self.table("", table.get_ref(), &place);
    }

    /// Takes what a table says. `prefix` is its name and a dot, or nothing.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>, place: &Place<'_>) {
        let keys = Config::keys();
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let inner = format!("{full}.");
            let at = place.at(name.span().start);
            if let Some(key) = keys.iter().find(|key| **key == full) {
                self.entry(key, value, place);
            } else if keys.iter().any(|key| key.starts_with(&inner)) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(&inner, table, place),
                    other => {
                        let message = format!("`{full}` is a table, not {}", article(other.type_str()));
                        self.problems.push(Problem::at(at, message));
                    }
                }
            } else {
                let tables = keys
                    .iter()
                    .filter_map(|key| key.split_once('.'))
                    .map(|(table, _)| table);
                let meant = nearest(&full, keys.iter().copied().chain(tables));
                self.problems.push(Problem::at(at, unknown("key", &full, meant)));
            }
        }
    }

    /// Takes the value of a key that exists, if the file writes it as it should.
    fn entry(&mut self, key: &'static str, value: &Spanned<DeValue<'_>>, place: &Place<'_>) {
        let source = place.at(value.span().start);
        let (mut kind, mut allowed) = (Kind::Text, String::new());
        self.config.each(&mut |candidate, value| {
            if candidate == key {
                (kind, allowed) = (value.kind(), value.allowed());
            }
        });
        let text = match (kind, value.get_ref()) {
            (Kind::Text | Kind::List, DeValue::String(text)) => Some(text.to_string()),
            (Kind::Boolean, DeValue::Boolean(value)) => Some(value.to_string()),
            (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => {
                Some(number.as_str().to_owned())
            }
            (Kind::List, DeValue::Array(items)) => {
                let items: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
                items.map(|items| items.join(","))
            }
            _ => None,
        };
        match text {
            Some(text) => self.set(key, &text, source),
            None => {
                let found = article(value.get_ref().type_str());
                self.refuse(
                    key,
                    source,
                    format!("{found} is not allowed; allowed is {allowed}"),
                );
            }
        }
    }

    fn finish(mut self, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
        // A value that was refused stands at its default here, so what it contradicts would mislead.
        if self.problems.is_empty() {
            for (key, message) in self.config.contradictions() {
                let source = self.sources.get(key).cloned();
                self.problems.push(Problem {
                    source,
                    key: Some(key),
                    message,
                });
            }
        }
        if self.problems.is_empty() {
            Ok(Loaded {
                config: self.config,
                file,
                sources: self.sources,
            })
        } else {
            Err(ConfigError(self.problems))
        }
    }
}

/// The variable that sets a key: `limits.drain` is set by `BERTH_LIMITS__DRAIN`.
fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn article(kind: &str) -> String {
    match kind {
        "array" | "integer" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

/// The file, to say where in it something is.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn at(&self, offset: usize) -> Source {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Source::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}
