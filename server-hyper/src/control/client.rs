//! The other end: asks a registry, whichever way leads to it.

use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::line::{Line, answer};
use super::{Request, Token, socket};
use crate::outgoing::{AddressError, Clear, agent};
use crate::stores::Stores;

/// Why a registry gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that can be asked.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server cannot be reached, or its answer broke off.
    #[error("the server cannot be asked: {0}")]
    Unreachable(String),
    /// The server does not take the request: a wrong token, or from where it takes none.
    #[error("the server refuses, with status {status}: {why}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// What it says.
        why: String,
    },
    /// The request was taken, and failed.
    #[error("{0}")]
    Failed(String),
    /// The server says something that this client does not understand.
    #[error("the server answers something else than was asked: {0}")]
    Answer(#[from] serde_json::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        ClientError::Unreachable(error.to_string())
    }
}

impl From<ureq::Error> for ClientError {
    fn from(error: ureq::Error) -> Self {
        ClientError::Unreachable(error.to_string())
    }
}

/// A way to a registry. Its calls block.
pub struct Client(Way);

enum Way {
    /// The socket of the server on this directory.
    Socket(std::path::PathBuf),
    /// The admin listener of a server.
    Http {
        agent: Box<ureq::Agent>,
        url: String,
        token: Token,
    },
    /// The stores, opened by this process.
    Within {
        stores: Stores,
        runtime: tokio::runtime::Runtime,
    },
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Way::Socket(_) => "Client(socket)",
            Way::Http { .. } => "Client(http)",
            Way::Within { .. } => "Client(within)",
        })
    }
}

impl Client {
    /// Asks the server that runs on a data directory; `None` if there is none.
    ///
    /// # Errors
    /// If there is one that cannot be asked.
    pub fn on(data: &Path) -> Result<Option<Self>, ClientError> {
        let there = socket::connect(data)?.is_some();
        Ok(there.then(|| Client(Way::Socket(data.to_owned()))))
    }

    /// Asks the server whose admin listener is at `url`, such as `http://127.0.0.1:5001`. For https its certificate
    /// must lead to one in the PEM file `authority`; without one, to one that the system trusts.
    ///
    /// # Errors
    /// If the address is none, or would send the token readable to another machine; or for the file.
    pub fn at(url: &str, token: Token, authority: Option<&Path>) -> Result<Self, ClientError> {
        let agent = agent(url, authority, Clear::Loopback)?;
        Ok(Client(Way::Http {
            agent: Box::new(agent),
            url: format!("{}/control", url.trim_end_matches('/')),
            token,
        }))
    }

    /// Does what is asked within this process, which has the stores open. For a registry that no server runs on.
    pub fn within(stores: Stores, runtime: tokio::runtime::Runtime) -> Self {
        Client(Way::Within {
            stores: stores.alone(),
            runtime,
        })
    }

    /// Whether a server does the work, and not this process.
    pub fn is_served(&self) -> bool {
        !matches!(self.0, Way::Within { .. })
    }

    /// Asks, tells each line but the last, and returns the result.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        told: &mut dyn FnMut(Line),
    ) -> Result<T, ClientError> {
        let result = match &self.0 {
            Way::Socket(data) => {
                let stream = socket::connect(data)?
                    .ok_or_else(|| ClientError::Unreachable("it has stopped".to_owned()))?;
                writeln!(&stream, "{}", serde_json::to_string(request)?)?;
                read(BufReader::new(stream as UnixStream), told)?
            }
            Way::Http { agent, url, token } => {
                let mut response = agent
                    .post(url)
                    .header("authorization", format!("Bearer {}", token.reveal()))
                    .header("content-type", "application/json")
                    .send(serde_json::to_vec(request)?)?;
                let status = response.status().as_u16();
                if status != 200 {
                    let why = response.body_mut().with_config().limit(4096).read_to_string();
                    return Err(ClientError::Refused {
                        status,
                        why: why.unwrap_or_default().trim_end().to_owned(),
                    });
                }
                read(BufReader::new(response.body_mut().as_reader()), told)?
            }
            Way::Within { stores, runtime } => runtime.block_on(async {
                let mut lines = answer(stores.clone(), request.clone());
                while let Some(line) = lines.next().await {
                    if line.is_last() {
                        return last(line);
                    }
                    told(line);
                }
                Err(broken_off())
            })?,
        };
        Ok(serde_json::from_value(result)?)
    }
}

/// Takes an answer to its end.
fn read(lines: impl BufRead, told: &mut dyn FnMut(Line)) -> Result<serde_json::Value, ClientError> {
    for line in lines.lines() {
        let line: Line = serde_json::from_str(&line?)?;
        if line.is_last() {
            return last(line);
        }
        told(line);
    }
    Err(broken_off())
}

fn last(line: Line) -> Result<serde_json::Value, ClientError> {
    match line {
        Line::Error(why) => Err(ClientError::Failed(why)),
        Line::Done(result) | Line::Found(result) | Line::Progress(result) => Ok(result),
    }
}

fn broken_off() -> ClientError {
    ClientError::Unreachable("its answer broke off".to_owned())
}
