//! The parameters behind the `?`.

use std::str::FromStr;

use crate::refusal::Refusal;

/// Parameters by name; of several with one name, the first.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn new(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Parameters(pairs.into_owned().collect())
    }

    /// What a parameter says, if it says anything.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The same as a number or a flag.
    pub(crate) fn parse<T: FromStr>(&self, name: &str, kind: &str) -> Result<Option<T>, Refusal> {
        let parse = |value: &str| {
            let invalid = || Refusal::invalid(format!("{name} is {kind}, and {value:?} is not"));
            value.parse().map_err(|_| invalid())
        };
        self.get(name).map(parse).transpose()
    }

    /// All of them but these, as they stand in an address.
    pub(crate) fn without(&self, names: &[&str]) -> form_urlencoded::Serializer<'static, String> {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let others = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        text.extend_pairs(others);
        text
    }
}
