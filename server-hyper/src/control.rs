//! The socket in the data directory, over which commands on the same machine talk to a running server.
//!
//! A Unix socket and no port: whoever may write to the directory's owner-only files may use it, and nobody else, and
//! nothing listens on the network. The client sends one line of JSON, the request; the answer begins with one line of
//! JSON. There is one request so far:
//!
//! `{"snapshot":{}}` is answered with `{"snapshot":{}}` and then a [dump](registry_storage::backup::dump) of the
//! records as they are at one moment. From before that moment until the connection ends nothing is unlinked, so that
//! the client can copy the blobs that the dump names. A client that is done sends `{"release":{}}`; the answer
//! `{"release":{}}` says that everything was held until then.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, timeout};

use crate::stores::Stores;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
/// Where the socket is made, out of reach of others until it has its mode.
const MAKING: &str = "control.new";
/// Longest path of a socket that every system takes.
const PATH_MAX: usize = 100;
/// Longest request in bytes.
const REQUEST_MAX: u64 = 64 << 10;
/// Longest that a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a client may take no byte of a dump: a dump keeps the engine from reusing room.
const STALL: Duration = Duration::from_secs(60);

/// The socket of a server, removed when it is dropped.
#[derive(Debug)]
pub struct Control {
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

impl Control {
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
        Ok(Control { listener, path })
    }

    /// Answers requests, until dropped.
    pub async fn serve(self, stores: Stores) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let stores = stores.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &stores).await {
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

impl Drop for Control {
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

async fn answer(stream: UnixStream, stores: &Stores) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = timeout(REQUEST_TIMEOUT, line(&mut stream)).await??;
    match request.as_ref().and_then(|request| request.get("snapshot")) {
        Some(_) => snapshot(stream, stores).await,
        None => refuse(stream, "the request is none that this server knows").await,
    }
}

/// The next line, as JSON; `None` if it is none, or the client has left.
async fn line(stream: &mut BufReader<UnixStream>) -> io::Result<Option<Value>> {
    let mut line = String::new();
    stream.take(REQUEST_MAX).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line).ok())
}

async fn refuse(mut stream: BufReader<UnixStream>, why: &str) -> io::Result<()> {
    let answer = format!("{}\n", json!({ "error": why }));
    stream.write_all(answer.as_bytes()).await
}

async fn snapshot(stream: BufReader<UnixStream>, stores: &Stores) -> io::Result<()> {
    // The hold comes before the dump's moment, and goes with this function.
    let Some(snapshot) = stores.snapshot() else {
        return refuse(
            stream,
            "everything is kept in memory; there is nothing to back up",
        )
        .await;
    };
    let began = Instant::now();
    tracing::info!("a backup begins: nothing is unlinked until it ends");
    let stream = stream.into_inner().into_std()?;
    let dumped = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STALL))?;
        let mut out = BufWriter::with_capacity(1 << 20, &stream);
        writeln!(out, "{}", json!({ "snapshot": {} }))?;
        let dumped = snapshot.dump(&mut out);
        drop(out);
        stream.set_nonblocking(true)?;
        dumped.map_err(io::Error::other)?;
        io::Result::Ok((stream, snapshot))
    });
    let (stream, _held) = dumped.await.map_err(io::Error::other)??;
    let mut stream = BufReader::new(UnixStream::from_std(stream)?);
    let released = line(&mut stream)
        .await?
        .is_some_and(|request| request.get("release").is_some());
    if released {
        let answer = format!("{}\n", json!({ "release": {} }));
        stream.write_all(answer.as_bytes()).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    match released {
        true => tracing::info!(seconds, "a backup ended"),
        false => tracing::warn!(seconds, "a backup broke off"),
    }
    Ok(())
}

/// A running server's records as they are at one moment, to be read to the end of the dump; and its promise to unlink
/// nothing.
#[derive(Debug)]
pub struct Held {
    stream: BlockingStream,
}

impl Held {
    /// Asks the server on a data directory, if there is one. Blocks.
    ///
    /// # Errors
    /// If there is a server that cannot be asked, or that refuses.
    pub fn begin(data: &Path) -> io::Result<Option<Self>> {
        let stream = match short(data, SOCKET, |path| BlockingStream::connect(path)) {
            Ok(stream) => stream,
            // None was ever made, or whoever made it is gone.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let held = Held { stream };
        held.ask("snapshot")?;
        Ok(Some(held))
    }

    fn ask(&self, what: &str) -> io::Result<()> {
        let mut stream = &self.stream;
        writeln!(stream, "{}", json!({ what: {} }))?;
        // Byte by byte, as what comes behind the line is not for this.
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let answer: Value = serde_json::from_slice(&line)?;
        match answer.get("error").and_then(Value::as_str) {
            Some(why) => Err(io::Error::other(format!("the server refuses: {why}"))),
            None if answer.get(what).is_some() => Ok(()),
            None => Err(io::Error::other("the server answers something else")),
        }
    }

    /// Lets go, and tells whether everything was held until now.
    ///
    /// # Errors
    /// If it was not: the server has gone, perhaps to come again.
    pub fn release(&self) -> io::Result<()> {
        self.ask("release")
    }
}

impl Read for &Held {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer)
    }
}
