//! What the collector does, and what waits for it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads what a collector observed whenever it is asked. Until one is given there is nothing to tell.
#[derive(Debug)]
pub(super) struct Collection(pub(super) Arc<OnceLock<registry_gc::Collector>>);

impl Collector for Collection {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(collector) = self.0.get() else {
            return Ok(());
        };
        let observed = collector.observed();
        let (totals, backlog) = (observed.totals, observed.backlog);

        let steps = ConstCounter::new(0u64);
        let name = "collector_steps";
        let help = "Steps of the collector, by what came of them";
        let mut encoder_of_steps = encoder.encode_descriptor(name, help, None, steps.metric_type())?;
        for (outcome, count) in [
            ("dropped", totals.dropped),
            ("requeued", totals.requeued),
            ("condemned", totals.condemned),
            ("removed", totals.removed),
            ("conflict", totals.conflicts),
            ("abandoned", totals.abandoned),
            ("untagged", totals.untagged),
            ("unlinked", totals.unlinked),
            ("failed", totals.failures),
        ] {
            ConstCounter::new(count).encode(encoder_of_steps.encode_family(&[("outcome", outcome)])?)?;
        }

        for (name, help, count) in [
            (
                "collector_given_back_bytes",
                "Bytes that the collector gave back",
                totals.bytes,
            ),
            (
                "collector_runs",
                "Runs of the collector that ended",
                observed.runs,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }

        let overdue = backlog
            .next
            .map_or(0.0, |next| backlog.now.since(next).as_secs_f64());
        let last = observed.last.as_ref();
        for (name, help, value) in [
            (
                "collector_queue_due",
                "Entries of the collector's queue that are due, when it last looked; counted up to 10000",
                backlog.due as f64,
            ),
            (
                "collector_queue_overdue_seconds",
                "How long the oldest entry of the collector's queue had been due, when it last looked",
                overdue,
            ),
            (
                "collector_doomed",
                "Locations that are to be unlinked, when the collector last looked; counted up to 10000",
                backlog.doomed as f64,
            ),
            (
                "collector_last_run_timestamp_seconds",
                "When the collector's last run ended; 0 before the first",
                last.map_or(0.0, |(ended, _, _)| ended.0 as f64 / 1000.0),
            ),
            (
                "collector_last_run_duration_seconds",
                "How long the collector's last run took",
                last.map_or(0.0, |(_, took, _)| took.as_secs_f64()),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
