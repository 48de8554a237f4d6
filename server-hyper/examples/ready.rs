//! How soon a test has its registry: the time from nothing to the first answer, many times over.
//!
//! `cargo run --release -p server-hyper --example ready`

use std::error::Error;
use std::time::{Duration, Instant};

use server_hyper::TestServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMES: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let registry = TestServer::in_memory().await?;
        let mut stream = TcpStream::connect(registry.addr()).await?;
        stream
            .write_all(b"GET /v2/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        took.push(began.elapsed());
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(format!("the registry is not well: {answer}").into());
        }
    }
    took.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "in-memory registry, from nothing to its first answer, {TIMES} times: median {:.2} ms, slowest {:.2} ms",
        ms(took[TIMES / 2]),
        ms(took[TIMES - 1])
    );
    Ok(())
}
