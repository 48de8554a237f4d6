//! What the server counts, in the form that Prometheus reads.
//!
//! Labels come from closed sets, never from what a client sends: no repository, tag or path appears here.

mod collection;

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt::Write as _;

use registry_gc::Scrubber;

use crate::scrub::ScrubMetrics;

/// Upper bounds of the latency histogram's buckets, in seconds.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0,
];

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    method: &'static str,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// A response's status, or none if the client went away before there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Status(Option<u16>);

impl EncodeLabelValue for Status {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self.0 {
            Some(status) => write!(encoder, "{status}"),
            None => encoder.write_str("gone"),
        }
    }
}

/// The server's counters. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    latency: Family<Operation, Histogram, fn() -> Histogram>,
    in_flight: Gauge<i64, AtomicI64>,
    received: Counter<u64, AtomicU64>,
    sent: Counter<u64, AtomicU64>,
    connections: Gauge<i64, AtomicI64>,
    accepted: Counter<u64, AtomicU64>,
    scrub: ScrubMetrics,
    collector: Arc<OnceLock<registry_gc::Collector>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("berth");
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let requests = Family::default();
        let latency = Family::new_with_constructor(histogram);
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        let (received, sent, accepted) = (Counter::default(), Counter::default(), Counter::default());
        registry.register(
            "build",
            "The version that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("http_requests", "Requests that ended", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its response",
            latency.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests that have begun and not ended",
            in_flight.clone(),
        );
        registry.register(
            "http_received_body_bytes",
            "Bytes of request bodies that were read",
            received.clone(),
        );
        registry.register(
            "http_sent_body_bytes",
            "Bytes of response bodies that were handed to connections",
            sent.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        registry.register(
            "accepted_connections",
            "Connections that were accepted",
            accepted.clone(),
        );
        let scrub = ScrubMetrics::default();
        registry.register_collector(Box::new(scrub.clone()));
        let collector = Arc::default();
        registry.register_collector(Box::new(collection::Collection(Arc::clone(&collector))));
        Metrics {
            collector,
            registry: Arc::new(registry),
            requests,
            latency,
            in_flight,
            received,
            sent,
            connections,
            accepted,
            scrub,
        }
    }

    /// From now on tells of this scrub too.
    pub fn watch_scrub(&self, scrubber: Scrubber) {
        self.scrub.watch(scrubber);
    }

    /// Tells of this collector too. The first that is given stays.
    pub fn collector(&self, collector: registry_gc::Collector) {
        let _another_was_given = self.collector.set(collector);
    }

    /// Everything as [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string succeeds");
        text
    }

    pub(crate) fn begin(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn end(&self, operation: &'static str, method: &Method, status: Option<u16>, took: Duration) {
        self.in_flight.dec();
        self.requests
            .get_or_create(&Request {
                operation,
                method: method_label(method),
                status: Status(status),
            })
            .inc();
        self.latency
            .get_or_create(&Operation { operation })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }

    pub(crate) fn connected(&self) {
        self.accepted.inc();
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
