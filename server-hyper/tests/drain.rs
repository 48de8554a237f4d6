//! How a server ends.

mod support;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use server_hyper::{Builder, Server};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use support::{Answer, Answers, get, hello, http1, loopback, soon, start};

/// Sends `first`, waits for the gate, sends `last`.
fn halting(gate: Arc<Notify>) -> Answer {
    let pieces = stream::unfold(0, move |step| {
        let gate = Arc::clone(&gate);
        async move {
            let piece = match step {
                0 => "first",
                1 => {
                    gate.notified().await;
                    "last"
                }
                _ => return None,
            };
            Some((Ok::<_, io::Error>(Frame::data(Bytes::from(piece))), step + 1))
        }
    });
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

fn halting_server(gate: &Arc<Notify>) -> Builder {
    let gate = Arc::clone(gate);
    Server::builder()
        .service(Answers(move |_| {
            let answer = halting(Arc::clone(&gate));
            async move { answer }
        }))
        .listen(loopback())
}

#[tokio::test]
async fn a_running_download_completes_while_new_connections_are_refused() {
    let gate = Arc::new(Notify::new());
    let server = start(halting_server(&gate)).await;
    let mut client = http1(server.address).await;
    let mut body = soon(client.send_request(get("/"))).await.unwrap().into_body();
    let first = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");

    server.handle.drain(Duration::from_secs(60));
    assert!(!server.handle.is_serving());
    soon(async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;

    gate.notify_one();
    let rest = soon(body.collect())
        .await
        .expect("the download goes on to its end")
        .to_bytes();
    assert_eq!(rest, "last");
    assert_eq!(soon(server.end).await.unwrap().cut_off, 0);
}

#[tokio::test]
async fn what_runs_beyond_the_deadline_is_cut_off() {
    let gate = Arc::new(Notify::new());
    let server = start(halting_server(&gate)).await;
    let mut client = http1(server.address).await;
    let body = soon(client.send_request(get("/"))).await.unwrap().into_body();

    server.handle.drain(Duration::from_millis(50));
    assert_eq!(soon(server.end).await.unwrap().cut_off, 1);
    assert!(soon(body.collect()).await.is_err(), "half a body is no body");
}

#[tokio::test]
async fn a_stop_ends_a_drain_at_once() {
    let gate = Arc::new(Notify::new());
    let server = start(halting_server(&gate)).await;
    let mut client = http1(server.address).await;
    let _response = soon(client.send_request(get("/"))).await.unwrap();

    server.handle.drain(Duration::from_secs(3600));
    server.handle.stop();
    assert_eq!(soon(server.end).await.unwrap().cut_off, 1);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = start(hello()).await;
    let mut idle = http1(server.address).await;
    support::read(soon(idle.send_request(get("/"))).await.unwrap()).await;
    let silent = TcpStream::connect(server.address).await.unwrap();

    server.handle.drain(Duration::from_secs(3600));
    assert_eq!(soon(server.end).await.unwrap().cut_off, 0);
    drop(silent);
}
