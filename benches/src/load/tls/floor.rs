//! A server that does the least under TLS that can be done without the kernel's help: it reads a file's pages, seals them where it
//! read them, and writes them. No HTTP library and no TLS library is in between. What berth spends beyond it is berth's own.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use rustls::{ServerConfig, ServerConnection};

use super::records::{CONTENT, HEAD, Keys, Opened, RECORD, TAIL, take};
use super::shake_hands;

/// Records that are read, sealed and written at once: with fewer more time goes to the socket, with more no less.
const BATCH: usize = 32;

/// Serves the files below `root`, whose paths are those of requests, one thread for each connection, until the process ends.
///
/// # Errors
/// If connections cannot be accepted.
pub fn serve(listener: &TcpListener, root: &Path, config: &Arc<ServerConfig>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let (root, config) = (root.to_owned(), config.clone());
        std::thread::spawn(move || {
            let _gone = connection(stream, &root, config);
        });
    }
}

fn connection(mut stream: TcpStream, root: &Path, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let [mut sends, mut receives] = shake_hands(&mut stream, tls.into())?;
    let (mut record, mut head) = (Vec::new(), Vec::new());
    let mut room = vec![0; BATCH * RECORD];
    loop {
        take(&mut stream, &mut record)?;
        match receives.open(&mut record)? {
            Opened::Data(length) => head.extend_from_slice(&record[HEAD..HEAD + length]),
            Opened::Nothing => continue,
            Opened::End => return Ok(()),
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&head).map_err(io::Error::other)?.is_partial() {
            continue;
        }
        let path = request.path.unwrap_or_default().trim_start_matches('/');
        let file = File::open(root.join(path)).and_then(|file| Ok((file.metadata()?.len(), file)));
        match file {
            Ok((length, file)) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                say(&mut stream, &mut sends, &mut room, &head)?;
                send(&mut stream, &mut sends, &mut room, &file, length)?;
            }
            Err(_) => {
                let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                say(&mut stream, &mut sends, &mut room, head)?;
            }
        }
        head.clear();
    }
}

/// Sends a head, in a record of its own.
fn say(stream: &mut TcpStream, keys: &mut Keys, room: &mut [u8], head: &str) -> io::Result<()> {
    room[HEAD..HEAD + head.len()].copy_from_slice(head.as_bytes());
    keys.seal(room, head.len());
    stream.write_all(&room[..HEAD + head.len() + TAIL])
}

/// Sends a file: each of its bytes is copied out of the page cache, sealed, and copied into the socket.
fn send(
    stream: &mut TcpStream,
    keys: &mut Keys,
    room: &mut [u8],
    file: &File,
    length: u64,
) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let batch = (length - at).min((BATCH * CONTENT) as u64) as usize;
        let slots = room
            .chunks_mut(RECORD)
            .map(|slot| &mut slot[HEAD..HEAD + CONTENT]);
        let mut slots: Vec<_> = slots.map(IoSliceMut::new).collect();
        if rustix::io::preadv(file, &mut slots, at)? < batch {
            // What a signal cut short is taken again, a record at a time.
            for (number, slot) in slots.iter_mut().enumerate() {
                let from = number * CONTENT;
                let here = batch.saturating_sub(from).min(CONTENT);
                file.read_exact_at(&mut slot[..here], at + from as u64)?;
            }
        }
        drop(slots);
        let mut filled = 0;
        for (number, record) in room.chunks_mut(RECORD).enumerate() {
            let content = batch.saturating_sub(number * CONTENT).min(CONTENT);
            if content == 0 {
                break;
            }
            keys.seal(record, content);
            filled += HEAD + content + TAIL;
        }
        stream.write_all(&room[..filled])?;
        at += batch as u64;
    }
    Ok(())
}

/// Seconds of a processor that sealing a GiB takes, in full records that lie in the processor's cache.
///
/// # Errors
/// If there is no such key.
pub fn sealing() -> io::Result<f64> {
    const GIB: usize = 1 << 30;
    let mut keys = Keys::of(&[1; 16], [2; 12].into(), 0)?;
    let mut room = vec![0; BATCH * RECORD];
    let spent = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let before = spent();
    for _ in 0..GIB / (BATCH * CONTENT) {
        for record in room.chunks_mut(RECORD) {
            keys.seal(record, CONTENT);
        }
    }
    Ok(spent() - before)
}
