//! What the service adds to the protocol: conditional reads, request ids, limits on time, and the tower interface.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body::Frame;
use http_body_util::{Empty, Full, StreamBody};
use registry_core::http::{Limits, RemoteAddr};
use registry_core::runtime::{Runtime, Threads};
use registry_core::wrappers::{Call, Gate, Gated};
use registry_core::{Context, Digest, Timestamp};

use crate::harness::{Wire, request};

#[test]
fn a_reader_that_has_the_content_is_not_sent_it_again() {
    let wire = Wire::new();
    let (manifest, _) = wire.push_image("a", "x", "x");
    let blob = wire.push_blob("a", b"content");
    for (digest, target) in [
        (manifest, "/v2/a/manifests/x".to_owned()),
        (manifest, format!("/v2/a/manifests/{manifest}")),
        (blob, format!("/v2/a/blobs/{blob}")),
    ] {
        let tag = format!("\"{digest}\"");
        assert_eq!(wire.get(&target).text("etag"), tag);
        for method in ["GET", "HEAD"] {
            for have in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
                let answer = wire
                    .send(method, &target, &[("if-none-match", &have)], "")
                    .is(304);
                assert_eq!(
                    (answer.text("etag"), answer.text("docker-content-digest")),
                    (tag.clone(), digest.to_string())
                );
            }
            wire.send(method, &target, &[("if-none-match", "\"other\"")], "")
                .is(200);
            wire.send(
                method,
                &target,
                &[("if-modified-since", "Thu, 01 Jan 2099 00:00:00 GMT")],
                "",
            )
            .is(200);
        }
    }
    let absent = Digest::sha256(b"absent");
    let tag = format!("\"{absent}\"");
    wire.send(
        "GET",
        &format!("/v2/a/blobs/{absent}"),
        &[("if-none-match", &tag)],
        "",
    )
    .is(404);
    wire.send("GET", "/v2/a/manifests/y", &[("if-none-match", "*")], "")
        .is(404);
}

#[test]
fn a_request_keeps_its_own_id_if_it_is_plain() {
    let wire = Wire::new();
    let id = |given: &str| {
        wire.send("GET", "/v2/", &[("x-request-id", given)], "")
            .text("x-request-id")
    };
    assert_eq!(id("trace-1/a:b"), "trace-1/a:b");
    for replaced in ["", "with space", &"x".repeat(129)] {
        let made = id(replaced);
        assert!(made != replaced && made.len() == 32, "{made}");
    }
    assert_ne!(
        wire.get("/v2/").text("x-request-id"),
        wire.get("/v2/").text("x-request-id")
    );
}

/// Keeps what it is told about the last request.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Option<Context>>>);

#[async_trait]
impl Gate for Notes {
    async fn admit(&self, ctx: &Context, _call: Call<'_>) -> registry_core::Result<Context> {
        *self.0.lock().unwrap() = Some(ctx.clone());
        Ok(ctx.clone())
    }
}

#[test]
fn the_registry_is_told_who_asks_from_where_and_until_when() {
    let notes = Notes::default();
    let limits = Limits {
        request_time: Some(Duration::from_secs(1000)),
        ..Limits::default()
    };
    let gate = notes.clone();
    let wire = Wire::new()
        .under(move |registry| Gated::new(registry, gate))
        .limited(limits);
    let mut asked = request(
        "GET",
        "/v2/a/tags/list",
        &[("x-request-id", "id-1"), ("authorization", "Bearer eve")],
    );
    let remote: IpAddr = "192.0.2.7".parse().unwrap();
    asked.extensions_mut().insert(RemoteAddr(remote));
    let before = Timestamp::system();
    wire.exchange(asked.map(|()| Empty::<Bytes>::new())).is(404);
    let ctx = notes.0.lock().unwrap().take().unwrap();
    assert_eq!(
        (ctx.identity.to_string(), &*ctx.request_id, ctx.remote),
        ("eve".into(), "id-1", Some(remote))
    );
    assert!(ctx.deadline.unwrap() >= before + Duration::from_secs(1000));
}

#[test]
fn a_request_past_its_deadline_is_told_to_come_again() {
    let limits = Limits {
        request_time: Some(Duration::ZERO),
        ..Limits::default()
    };
    let refused = Wire::new()
        .limited(limits)
        .get("/v2/a/tags/list")
        .refuses(503, "UNAVAILABLE", "too long");
    assert!(!refused.text("retry-after").is_empty());
}

/// Sleeps until the test says that the time is over.
#[derive(Clone, Default)]
struct ManualSleep(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl ManualSleep {
    /// Ends every sleep; gives how many there were.
    fn pass(&self) -> usize {
        let sleepers = std::mem::take(&mut *self.0.lock().unwrap());
        let ended = sleepers.into_iter().map(|sleeper| sleeper.send(()));
        ended.filter(Result::is_ok).count()
    }
}

impl Runtime for ManualSleep {
    fn now(&self) -> Timestamp {
        Timestamp::system()
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        let (send, receive) = oneshot::channel();
        self.0.lock().unwrap().push(send);
        Box::pin(async move { receive.await.unwrap_or(()) })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Threads.spawn_blocking(work);
    }
}

type Pieces = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;

fn slow(
    method: &str,
    target: &str,
) -> (
    Pieces,
    Request<impl http_body::Body<Data = Bytes, Error = io::Error> + Send + use<>>,
) {
    let (send, receive) = mpsc::unbounded();
    (
        send,
        request(method, target, &[]).map(|()| StreamBody::new(receive.boxed())),
    )
}

fn send(pieces: &Pieces, piece: &'static str) {
    pieces
        .unbounded_send(Ok(Frame::data(Bytes::from(piece))))
        .unwrap();
}

#[test]
fn a_body_that_stands_still_is_given_up_and_one_that_moves_is_not() {
    let time = ManualSleep::default();
    let wire = Wire::on(Arc::new(time.clone()));
    let location = wire.begin("a");
    let (pieces, request) = slow("PATCH", &location);
    let mut answer = pin!(wire.ask(request));
    let mut poll = || answer.as_mut().poll(&mut Task::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    send(&pieces, "ab");
    assert!(poll().is_pending());
    assert_eq!(time.pass(), 1);
    // Two bytes came within the period: another one begins.
    assert!(poll().is_pending());
    assert_eq!(time.pass(), 1);
    let Poll::Ready(answer) = poll() else {
        panic!("a body that stands still was waited for")
    };
    answer.refuses(408, "BLOB_UPLOAD_INVALID", "2 had come");
    // The upload can be resumed.
    assert_eq!(wire.get(&location).is(204).text("range"), "0-1");
}

#[test]
fn a_stalled_push_in_one_request_leaves_nothing() {
    let time = ManualSleep::default();
    let wire = Wire::on(Arc::new(time.clone()));
    let before = wire.kept();
    for target in [
        format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(b"x")),
        "/v2/a/manifests/x".to_owned(),
    ] {
        let method = if target.contains("uploads") { "POST" } else { "PUT" };
        let (_pieces, request) = slow(method, &target);
        let mut answer = pin!(wire.ask(request));
        let mut poll = || answer.as_mut().poll(&mut Task::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        assert_eq!(time.pass(), 1);
        let Poll::Ready(answer) = poll() else {
            panic!("a body that stands still was waited for")
        };
        answer.refuses(408, "BLOB_UPLOAD_INVALID", "no byte");
    }
    assert_eq!(wire.kept(), before);
}

/// Runs what is spawned when the test says so.
#[derive(Clone, Default)]
struct ManualSpawn(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Runtime for ManualSpawn {
    fn now(&self) -> Timestamp {
        Timestamp::system()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Threads.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().push(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Threads.spawn_blocking(work);
    }
}

#[test]
fn a_push_in_one_request_whose_connection_is_dropped_leaves_nothing() {
    let tasks = ManualSpawn::default();
    let wire = Wire::on(Arc::new(tasks.clone()));
    let before = wire.kept();
    let (pieces, request) = slow(
        "POST",
        &format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(b"x")),
    );
    {
        let mut answer = pin!(wire.ask(request));
        send(&pieces, "half");
        assert!(
            answer
                .as_mut()
                .poll(&mut Task::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_ne!(wire.kept(), before);
    }
    let spawned = std::mem::take(&mut *tasks.0.lock().unwrap());
    assert_eq!(spawned.len(), 1);
    spawned.into_iter().for_each(futures_executor::block_on);
    assert_eq!(wire.kept(), before);
}

#[test]
fn the_service_is_a_tower_service_that_never_fails() {
    use tower_service::Service as _;
    let wire = Wire::new();
    let mut service = wire.service.clone();
    let request = request("GET", "/v2/", &[]).map(|()| Full::new(Bytes::new()));
    let ready: Poll<Result<(), std::convert::Infallible>> =
        tower_service::Service::<Request<Full<Bytes>>>::poll_ready(
            &mut service,
            &mut Task::from_waker(Waker::noop()),
        );
    assert!(ready.is_ready());
    let answer: Pin<Box<dyn Future<Output = _> + Send>> = service.call(request);
    assert_eq!(futures_executor::block_on(answer).unwrap().status(), 200);
}

#[test]
fn what_is_not_below_v2_is_no_business_of_the_protocol() {
    let wire = Wire::new();
    for target in ["/", "/v1/", "/v22/", "/healthz"] {
        wire.get(target).refuses(404, "UNSUPPORTED", target);
    }
}
