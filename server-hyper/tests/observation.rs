//! What operators see.

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use registry_core::http::Service;
use registry_core::store::{Lifetimes, Terms};
use registry_gc::{RunOptions, Stop};
use server_hyper::admin::Admin;
use server_hyper::metrics::Metrics;
use server_hyper::{Server, Stores, TokioRuntime};

use support::{Running, ask, http1, loopback, read, request, soon, start};

/// A registry and the operators' view of it.
async fn observed() -> (Running, Running) {
    let stores = Stores::memory(Lifetimes::default());
    let metrics = Metrics::new();
    let service = Service::new(Arc::clone(&stores.registry), TokioRuntime::shared());
    let builder = Server::builder().service(service).listen(loopback());
    let registry = start(builder.metrics(metrics.clone()).log_requests(true)).await;
    let admin = Admin::new(metrics, registry.handle.clone(), stores);
    let admin = start(Server::builder().service(admin).listen(loopback())).await;
    (registry, admin)
}

#[tokio::test]
async fn requests_and_bytes_are_counted_by_operation_and_no_label_is_a_clients() {
    let (registry, admin) = observed().await;
    let mut client = http1(registry.address).await;
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let push = format!("/v2/secret-team/app/blobs/uploads/?digest={digest}");
    let response = soon(client.send_request(request(Method::POST, &push, "hello")))
        .await
        .unwrap();
    assert_eq!(read(response).await.0, 201);
    let pull = format!("/v2/secret-team/app/blobs/{digest}");
    let response = soon(client.send_request(request(Method::GET, &pull, "")))
        .await
        .unwrap();
    assert_eq!(read(response).await.1, "hello");
    let nonsense = request(Method::from_bytes(b"BREW").unwrap(), "/secret-path", "");
    let response = soon(client.send_request(nonsense)).await.unwrap();
    assert_eq!(read(response).await.0, 404);

    let (status, text) = ask(admin.address, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"berth_http_requests_total{operation="push_blob",method="POST",status="201"} 1"#,
        r#"berth_http_requests_total{operation="read_blob",method="GET",status="200"} 1"#,
        r#"berth_http_requests_total{operation="refused",method="other",status="404"} 1"#,
        r#"berth_http_request_duration_seconds_count{operation="read_blob"} 1"#,
        "berth_http_received_body_bytes_total 5",
        "berth_http_requests_in_flight 0",
        "berth_connections 1",
        "berth_accepted_connections_total 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains("secret") && !text.contains("BREW"), "{text}");
}

#[tokio::test]
async fn a_server_is_ready_until_it_drains() {
    let (registry, admin) = observed().await;
    assert_eq!(ask(admin.address, "/healthz").await.0, 200);
    assert_eq!(
        ask(admin.address, "/readyz").await,
        (http::StatusCode::OK, "ready\n".to_owned())
    );
    registry.handle.drain(Duration::from_secs(60));
    assert_eq!(ask(admin.address, "/readyz").await.0, 503);
    assert_eq!(ask(admin.address, "/healthz").await.0, 200);
    assert_eq!(ask(admin.address, "/elsewhere").await.0, 404);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// One thread, so that everything is logged where this test listens.
#[tokio::test(flavor = "current_thread")]
async fn each_request_is_one_line_without_its_query_and_credentials() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);

    let (registry, _admin) = observed().await;
    let mut client = http1(registry.address).await;
    let mut asked = request(Method::GET, "/v2/team/app/tags/list?last=hidden", "");
    asked
        .headers_mut()
        .insert("authorization", "Basic aGlkZGVu".parse().unwrap());
    asked
        .headers_mut()
        .insert("user-agent", "test/1".parse().unwrap());
    asked
        .headers_mut()
        .insert("x-request-id", "request-7".parse().unwrap());
    let (status, body) = read(soon(client.send_request(asked)).await.unwrap()).await;
    assert_eq!(status, 404);

    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        !lines.contains("hidden") && !lines.contains("aGlkZGVu"),
        "{lines}"
    );
    let mut lines = lines.lines().filter(|line| line.contains("berth::request"));
    let line: serde_json::Value = serde_json::from_str(lines.next().expect("a line")).unwrap();
    assert_eq!(lines.next(), None);
    for (key, value) in [
        ("method", "GET".into()),
        ("path", "/v2/team/app/tags/list".into()),
        ("status", 404.into()),
        ("sent", body.len().into()),
        ("complete", true.into()),
        ("remote", "127.0.0.1".into()),
        ("request_id", "request-7".into()),
        ("user_agent", "test/1".into()),
    ] {
        let value: serde_json::Value = value;
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert!(line["ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn the_collectors_steps_its_queue_and_its_last_run_are_metrics() {
    let stores = Stores::memory(Lifetimes::default());
    let metrics = Metrics::new();
    metrics.collector(stores.collector.clone());
    let service = Service::new(Arc::clone(&stores.registry), TokioRuntime::shared());
    let registry = start(Server::builder().service(service).listen(loopback())).await;
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let push = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    let mut client = http1(registry.address).await;
    let pushed = soon(client.send_request(request(Method::POST, &push, "hello"))).await;
    assert_eq!(read(pushed.unwrap()).await.0, 201);
    let terms = Terms {
        grace: Some(Duration::ZERO),
        alone: true,
    };
    let (options, stop) = (RunOptions { terms }, Stop::new());
    stores.collector.run(&options, &stop, &mut |_| {}).await.unwrap();
    let text = metrics.text();
    for line in [
        r#"berth_collector_steps_total{outcome="condemned"} 1"#,
        r#"berth_collector_steps_total{outcome="removed"} 1"#,
        r#"berth_collector_steps_total{outcome="failed"} 0"#,
        "berth_collector_given_back_bytes_total 5",
        "berth_collector_runs_total 1",
        "berth_collector_queue_due 0",
        "berth_collector_queue_overdue_seconds 0",
        "berth_collector_doomed 0",
    ] {
        assert!(text.lines().any(|told| told.starts_with(line)), "{line}\n{text}");
    }
    assert!(
        text.contains("berth_collector_last_run_timestamp_seconds 1"),
        "{text}"
    );
}
