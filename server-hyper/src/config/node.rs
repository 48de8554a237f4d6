//! What this node is called where several may work at the same records.

use std::path::Path;

use super::value::{Kind, Value, quote};

/// Most bytes of a name.
const MOST: usize = 200;

/// The name of this node, or none to be called by the host and the data directory.
///
/// Two that run at the same time need different names, and a node that is started again should keep its own: then it takes up
/// again what it led, where another has to wait until that lead has ended. A process has its data directory for itself, so
/// the host and that directory tell every two apart and stay what they are; the process's number would change. Where the host's
/// name changes with each start, as with containers that are made anew, it is better to give one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node(Option<String>);

impl Node {
    /// What it is called, with its data there; none if it keeps all in memory.
    pub fn name(&self, data: Option<&Path>) -> String {
        if let Some(name) = &self.0 {
            return name.clone();
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let data = data.map_or("memory".into(), |data| {
            let whole = data.canonicalize().or_else(|_| std::path::absolute(data));
            whole.unwrap_or_else(|_| data.to_owned())
        });
        format!("{host}:{}", data.display())
    }
}

impl Value for Node {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        format!("a name of at most {MOST} bytes, or \"\" for that of the host and the data directory")
    }

    fn set(&mut self, text: &str) -> bool {
        let is_name = text.len() <= MOST && !text.chars().any(char::is_control);
        if is_name {
            self.0 = (!text.is_empty()).then(|| text.to_owned());
        }
        is_name
    }

    fn show(&self) -> String {
        quote(self.0.as_deref().unwrap_or_default())
    }
}
