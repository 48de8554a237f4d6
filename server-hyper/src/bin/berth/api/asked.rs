//! What commands of the management API are told, where several are told the same.

use clap::Args;

use super::{Client, Form, Login};
use crate::terminal::Sure;

/// Whom to ask, and how to print the answer.
#[derive(Args)]
pub(crate) struct Api {
    #[command(flatten)]
    pub(crate) form: Form,
    #[command(flatten)]
    login: Login,
}

impl Api {
    /// Logged in.
    pub(crate) fn client(&self) -> Result<Client, String> {
        self.login.client()
    }
}

/// Which are listed.
#[derive(Args)]
pub(crate) struct Listed {
    /// Only those with this in their names
    #[arg(long, value_name = "TEXT")]
    pub(crate) like: Option<String>,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Which is meant.
#[derive(Args)]
pub(crate) struct Named {
    /// Which
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Which is deleted.
#[derive(Args)]
pub(crate) struct Deleted {
    /// Which
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) sure: Sure,
    #[command(flatten)]
    pub(crate) api: Api,
}
