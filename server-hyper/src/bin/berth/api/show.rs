//! What is printed of what the API says.

use clap::Args;
use registry_auth::secret::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::read;
use crate::progress::listing;

/// How it is printed.
#[derive(Args, Clone, Copy)]
pub(crate) struct Form {
    /// Print JSON, one object a line, as the API says it: its /api/v2.0/openapi.json describes them
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print only the name; or the secret, where one is made
    #[arg(long, short)]
    quiet: bool,
}

/// A thing of the API, for people.
pub(crate) trait Shown: DeserializeOwned {
    /// What several are called.
    const MANY: &'static str;

    /// What it is called.
    fn name(&self) -> &str;

    /// Its row in a table, with the titles of the columns.
    fn row(&self) -> Vec<(&'static str, String)>;

    /// What is told of it beyond that when it is alone.
    fn rest(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

impl Form {
    /// Prints a list.
    pub(crate) fn list<T: Shown>(self, entries: &[Value]) -> Result<(), String> {
        if self.json {
            entries.iter().for_each(|entry| println!("{entry}"));
            return Ok(());
        }
        let things: Vec<T> = entries.iter().map(read).collect::<Result<_, _>>()?;
        if self.quiet {
            things.iter().for_each(|thing| println!("{}", thing.name()));
            return Ok(());
        }
        let Some(first) = things.first() else {
            println!("no {}", T::MANY);
            return Ok(());
        };
        let titles = first
            .row()
            .iter()
            .map(|(title, _)| title.to_uppercase())
            .collect();
        let cells = |thing: &T| thing.row().into_iter().map(|(_, cell)| cell).collect();
        let rows: Vec<Vec<String>> = std::iter::once(titles).chain(things.iter().map(cells)).collect();
        print!("{}", listing(&rows));
        Ok(())
    }

    /// Prints one thing.
    pub(crate) fn one<T: Shown>(self, entry: &Value) -> Result<(), String> {
        let thing: T = read(entry)?;
        match self {
            Form { json: true, .. } => println!("{entry}"),
            Form { quiet: true, .. } => println!("{}", thing.name()),
            Form { .. } => {
                let told = thing.row().into_iter().chain(thing.rest());
                let told = told.filter(|(_, text)| !text.is_empty());
                let rows: Vec<Vec<String>> = told.map(|(title, text)| vec![title.to_owned(), text]).collect();
                print!("{}", listing(&rows));
            }
        }
        Ok(())
    }

    /// Says that something was done: the thing itself, its name, or a sentence. A secret that came with it is told now and
    /// never again; it is called as the first of the two.
    pub(crate) fn done(
        self,
        mut entry: Value,
        name: &str,
        sentence: &str,
        secret: Option<(&'static str, &Secret)>,
    ) {
        match (self, secret) {
            (Form { json: true, .. }, secret) => {
                if let Some((called, secret)) = secret {
                    entry[called] = secret.reveal().into();
                }
                println!("{entry}");
            }
            (Form { quiet: true, .. }, Some((_, secret))) => println!("{}", secret.reveal()),
            (Form { quiet: true, .. }, None) => println!("{name}"),
            (Form { .. }, Some((called, secret))) => {
                println!("{sentence}; its {called} is told only now:\n{}", secret.reveal());
            }
            (Form { .. }, None) => println!("{sentence}"),
        }
    }
}

/// A time of the API, without fractions of a second.
pub(crate) fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}
