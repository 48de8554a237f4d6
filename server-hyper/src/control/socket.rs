//! The socket in the data directory, over which commands on the same machine talk to a running server.
//!
//! A Unix socket and no port: whoever may write to the directory's owner-only files may use it, and nobody else. The
//! client sends its request as one line of JSON; the answer is lines of JSON.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::line::{Line, answer};
use super::snapshot::snapshot;
use super::{REQUEST_MAX, REQUEST_TIMEOUT, Request};
use crate::stores::Stores;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
/// Where the socket is made, out of reach of others until it has its mode.
const MAKING: &str = "control.new";
/// Longest path of a socket that every system takes.
const PATH_MAX: usize = 100;
/// Longest that a client may take no byte of an answer.
const STALL: Duration = Duration::from_secs(60);

/// The socket of a server, removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// Does `work` with a path to `name` in `directory` that is short enough for a socket.
fn short<T>(directory: &Path, name: &str, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = directory.join(name);
    if path.as_os_str().len() <= PATH_MAX {
        return work(&path);
    }
    let open = File::open(directory)?;
    work(Path::new(&format!("/proc/self/fd/{}/{name}", open.as_raw_fd())))
}

impl Socket {
    /// Makes the socket in a data directory, for the owner alone. Whoever calls this has the directory's lock, so a
    /// socket that is there is nobody's.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the directory's file system has no sockets, or it cannot be written to.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let (path, making) = (data.join(SOCKET), data.join(MAKING));
        absent(fs::remove_dir_all(&making))?;
        absent(fs::remove_file(&path))?;
        // Between being made and having its mode, it is where nobody else gets to.
        DirBuilder::new().mode(0o700).create(&making)?;
        let listener = short(&making, SOCKET, |path| UnixListener::bind(path))?;
        fs::set_permissions(making.join(SOCKET), Permissions::from_mode(0o600))?;
        fs::rename(making.join(SOCKET), &path)?;
        fs::remove_dir(&making)?;
        Ok(Socket { listener, path })
    }

    /// Answers requests, until dropped.
    pub async fn serve(self, stores: Stores) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let stores = stores.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, stores).await {
                            tracing::warn!(%error, "a request over the control socket failed");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket accepts nothing; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(&self.path);
    }
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A connection to the server on a data directory; `None` if there is none. Blocks.
pub(super) fn connect(data: &Path) -> io::Result<Option<BlockingStream>> {
    match short(data, SOCKET, |path| BlockingStream::connect(path)) {
        Ok(stream) => Ok(Some(stream)),
        // None was ever made, or whoever made it is gone.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn converse(stream: UnixStream, stores: Stores) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = timeout(REQUEST_TIMEOUT, line(&mut stream)).await??;
    match request.and_then(|line| serde_json::from_str(&line).ok()) {
        Some(Request::Snapshot {}) => snapshot(stream, &stores).await,
        Some(request) => lines(stream, stores, request).await,
        None => {
            let refusal = Line::Error("the request is none that this server knows".to_owned());
            stream.write_all(refusal.text().as_bytes()).await
        }
    }
}

/// The next line; `None` if the client has left.
pub(super) async fn line(stream: &mut BufReader<UnixStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.take(REQUEST_MAX as u64).read_line(&mut line).await?;
    Ok((read > 0).then_some(line))
}

/// Answers line by line, for as long as the client is there.
async fn lines(mut stream: BufReader<UnixStream>, stores: Stores, request: Request) -> io::Result<()> {
    let (mut from, mut to) = stream.get_mut().split();
    let mut lines = answer(stores, request);
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            line = lines.next() => match line {
                Some(line) => timeout(STALL, to.write_all(line.text().as_bytes())).await??,
                None => return Ok(()),
            },
            // Nothing more is expected from the client; its end is the end of the work.
            read = from.read(&mut ignored) => if read? == 0 {
                tracing::info!("the client of a control request left; the request was broken off");
                return Ok(());
            },
        }
    }
}
