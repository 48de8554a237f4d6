//! What must hold between the keys.

use std::time::Duration;

use super::choices::ScrubInterval;
use super::schema::Config;
use super::value::Value;

impl Config {
    /// What cannot be so, beyond what each value allows: key and reason.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, String)> {
        let tls = &self.tls;
        let mut found = tls.contradictions();
        let mut claim = |holds: bool, key, why: String| {
            if !holds {
                found.push((key, why));
            }
        };
        claim(
            !self.admin_tls || tls.is_on(),
            "admin.tls",
            "TLS needs a certificate; set tls.certificate or tls.self_signed too".into(),
        );
        let limits = &self.limits;
        for (key, value, least, most) in [
            ("limits.connections", limits.connections, 1, 1_000_000),
            ("limits.header_bytes", limits.header_bytes, 8192, 1 << 20),
            ("limits.streams", limits.streams, 1, 10_000),
            ("limits.reset_streams", limits.reset_streams, 1, 10_000),
            ("limits.page_size", limits.page_size, 1, 10_000),
            ("collector.workers", self.collector.workers, 1, 1000),
        ] {
            claim(
                (least..=most).contains(&value),
                key,
                format!("{value} is not between {least} and {most}"),
            );
        }
        let lifetimes = &self.lifetimes;
        for (key, value) in [
            ("tls.reload", tls.reload),
            ("limits.header_timeout", limits.header_timeout),
            ("limits.body_idle_timeout", limits.body_idle_timeout),
            ("lifetimes.grace", lifetimes.grace),
            ("lifetimes.bucket", lifetimes.bucket),
            ("lifetimes.second_delay", lifetimes.second_delay),
            ("lifetimes.upload_idle", lifetimes.upload_idle),
            ("lifetimes.longest_write", lifetimes.longest_write),
            ("lifetimes.longest_read", lifetimes.longest_read),
            ("collector.interval", self.collector.interval),
        ] {
            claim(!value.is_zero(), key, "must be longer than nothing".into());
        }
        claim(
            self.collector.untagged.is_none_or(|kept| !kept.is_zero()),
            "collector.untagged",
            "must be longer than nothing; \"\" keeps them for ever".into(),
        );
        claim(
            self.scrub.rate >= 1024,
            "scrub.rate",
            format!(
                "{} is less than 1024 bytes per second; to have no scrub, set scrub.interval = \"off\"",
                self.scrub.rate
            ),
        );
        claim(
            self.scrub.interval != ScrubInterval::Every(Duration::ZERO),
            "scrub.interval",
            "must be longer than nothing".into(),
        );
        let (bucket, grace) = (lifetimes.bucket, lifetimes.grace);
        claim(
            bucket <= grace,
            "lifetimes.bucket",
            format!(
                "{} is longer than lifetimes.grace, which is {}",
                bucket.show(),
                grace.show()
            ),
        );
        let (delay, read) = (lifetimes.second_delay, lifetimes.longest_read);
        claim(
            delay >= read,
            "lifetimes.second_delay",
            format!(
                "{} is shorter than lifetimes.longest_read, which is {}",
                delay.show(),
                read.show()
            ),
        );
        found.extend(self.auth.contradictions());
        found
    }
}
