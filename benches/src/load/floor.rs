//! A server that does the least that the protocol allows: a bare hyper handler that answers from memory, and that receives,
//! hashes, writes and syncs what is pushed. What berth spends beyond it is berth's own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// Longer files are not kept in memory, so not served.
const LONGEST: u64 = 4 << 20;

struct Floor {
    answers: HashMap<String, (HeaderValue, Bytes)>,
    pushed: PathBuf,
    next: AtomicU64,
}

/// Reads the files below `root`, whose paths are those of requests.
fn load(root: &Path, directory: &Path, into: &mut HashMap<String, (HeaderValue, Bytes)>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            load(root, &path, into)?;
        } else if entry.metadata()?.len() <= LONGEST {
            let name = path.strip_prefix(root).map_err(io::Error::other)?;
            let bytes = Bytes::from(std::fs::read(&path)?);
            let kind = match name.components().any(|part| part.as_os_str() == "manifests") {
                true => super::content::MANIFEST,
                false => "application/octet-stream",
            };
            into.insert(
                format!("/{}", name.display()),
                (HeaderValue::from_static(kind), bytes),
            );
        }
    }
    Ok(())
}

/// Serves the files below `root`, and keeps what is pushed below `pushed`, until the process ends.
///
/// # Errors
/// If the files cannot be read, or connections cannot be accepted.
pub async fn serve(listener: TcpListener, root: &Path, pushed: PathBuf) -> io::Result<()> {
    let mut answers = HashMap::new();
    if root.is_dir() {
        load(root, root, &mut answers)?;
    }
    std::fs::create_dir_all(&pushed)?;
    let floor = Arc::new(Floor {
        answers,
        pushed,
        next: AtomicU64::new(0),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = floor.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(floor.clone(), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            let _gone = http
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(floor: Arc<Floor>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::new()));
    let path = request.uri().path();
    match *request.method() {
        Method::GET | Method::HEAD => match floor.answers.get(path) {
            Some((kind, bytes)) => {
                response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
                response
                    .headers_mut()
                    .insert(header::CONTENT_LENGTH, bytes.len().into());
                if request.method() == Method::GET {
                    *response.body_mut() = Full::new(bytes.clone());
                }
            }
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        },
        Method::POST => {
            let here = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
            response.headers_mut().insert(header::LOCATION, here);
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        Method::PUT => {
            *response.status_mut() = match floor.receive(request.into_body()).await {
                Ok(()) => StatusCode::CREATED,
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
        }
        _ => *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
    }
    Ok(response)
}

impl Floor {
    /// Hashes and writes on the connection's own thread, and syncs the bytes on another.
    async fn receive(&self, mut body: Incoming) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut file = std::fs::File::create(self.pushed.join(number.to_string()))?;
        let mut hash = Sha256::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                hash.update(&data);
                file.write_all(&data)?;
            }
        }
        std::hint::black_box(hash.finalize());
        tokio::task::spawn_blocking(move || file.sync_data()).await?
    }
}
