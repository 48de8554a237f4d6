//! What the scrub has done, for `/metrics`.

use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use registry_gc::Scrubber;

/// The scrubber that is told of, once there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScrubMetrics(Arc<OnceLock<Scrubber>>);

impl ScrubMetrics {
    pub(crate) fn watch(&self, scrubber: Scrubber) {
        // There is one scrub in a process; a second one would be a mistake, and the first stays.
        let _there_is_one = self.0.set(scrubber);
    }
}

impl Collector for ScrubMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(scrubber) = self.0.get() else {
            return Ok(());
        };
        let status = scrubber.status();
        for (name, help, value) in [
            (
                "scrub_blobs",
                "Blobs that the scrub has read again",
                status.count.blobs,
            ),
            (
                "scrub_manifests",
                "Manifests that the scrub has read again",
                status.count.manifests,
            ),
            (
                "scrub_bytes",
                "Bytes that the scrub has read again",
                status.count.bytes,
            ),
            (
                "scrub_damaged",
                "Damaged blobs and manifests that the scrub has found",
                status.count.damaged,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let waits = if status.waits.is_some() { 1.0 } else { 0.0 };
        let finished = status.finished.map_or(0.0, |at| at.0 as f64 / 1000.0);
        for (name, help, value) in [
            (
                "scrub_position_ratio",
                "How far the scrub is through the blobs",
                status.position,
            ),
            (
                "scrub_last_full_pass_timestamp_seconds",
                "When the last scrub ended that read everything; 0 if none did",
                finished,
            ),
            (
                "scrub_waiting",
                "Whether the scrub cannot go on, for want of its volume perhaps; berth scrub says why",
                waits,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
