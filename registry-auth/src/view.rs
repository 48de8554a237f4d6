//! What somebody sees, while it is gathered.

use registry_core::RepositoryName;
use registry_core::auth::Visible;

use crate::pattern::Pattern;

/// Repositories that are shown, while they are gathered.
#[derive(Default)]
pub(crate) struct View {
    names: Vec<RepositoryName>,
    prefixes: Vec<String>,
}

impl View {
    pub(crate) fn of(visible: &Visible) -> Self {
        View::default().and(visible)
    }

    pub(crate) fn and(mut self, visible: &Visible) -> Self {
        if let Visible::Only { names, prefixes } = visible {
            self.names.extend(names.iter().cloned());
            self.prefixes.extend(prefixes.iter().cloned());
        }
        self
    }

    /// A repository may be called as its project is, and nothing more.
    pub(crate) fn add_project(&mut self, name: &str) {
        self.names.extend(name.parse::<RepositoryName>());
        self.prefixes.push(format!("{name}/"));
    }

    pub(crate) fn add_pattern(&mut self, pattern: &Pattern) {
        // One of a member is within its project, so never all.
        let _all = pattern.show(&mut self.names, &mut self.prefixes);
    }

    pub(crate) fn done(mut self) -> Visible {
        self.names.sort();
        self.names.dedup();
        self.prefixes.sort();
        self.prefixes.dedup();
        Visible::Only {
            names: self.names.into(),
            prefixes: self.prefixes.into(),
        }
    }
}
