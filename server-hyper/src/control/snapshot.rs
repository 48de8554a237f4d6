//! `{"snapshot":{}}`: the records as they are at one moment, over the socket.
//!
//! It is answered with `{"snapshot":{}}` and then a [dump](registry_storage::backup::dump) of the records. From before
//! that moment until the connection ends nothing is unlinked, so that the client can copy the blobs that the dump
//! names. A client that is done sends `{"release":{}}`; the answer `{"release":{}}` says that everything was held until
//! then.

use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::line::Line;
use super::socket;
use crate::stores::Stores;

/// Longest that a client may take no byte of a dump: a dump keeps the engine from reusing room.
const STALL: Duration = Duration::from_secs(60);

pub(super) async fn snapshot(mut stream: BufReader<UnixStream>, stores: &Stores) -> io::Result<()> {
    // The hold comes before the dump's moment, and goes with this function.
    let Some(snapshot) = stores.snapshot() else {
        let refusal = Line::Error("everything is kept in memory; there is nothing to back up".to_owned());
        return stream.write_all(refusal.text().as_bytes()).await;
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
    let released = socket::line(&mut stream)
        .await?
        .and_then(|line| serde_json::from_str::<Value>(&line).ok())
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
        let Some(stream) = socket::connect(data)? else {
            return Ok(None);
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
