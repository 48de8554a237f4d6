//! What a comparison of scenarios does not show of berth, for the same document.

use std::fmt::Write as _;

use crate::cold::{self, median};
use crate::lists::Latencies;

/// Measured once, of berth alone.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Pages of a short list, of a long one, and of repositories.
    pub lists: Vec<Latencies>,
    /// Manifests alone, and while others pull what is not in memory.
    pub cold: Vec<cold::Measured>,
    /// How many others, and what they pull.
    pub plan: cold::Plan,
}

impl Beside {
    /// As sections of the document; nothing of what was not measured.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if let [few, many, ..] = self.lists.as_slice() {
            let ratio = many.p50 / few.p50;
            let _infallible = write!(
                text,
                "\n### Long lists\n\nPages of 100 entries from anywhere in a list, over one connection to berth: a page of the long list takes \
                 {ratio:.2} times as long as one of the short.\n\n| list | entries | p50 ms | p99 ms |\n|---|---|---|---|\n"
            );
            for list in &self.lists {
                let Latencies {
                    list,
                    entries,
                    p50,
                    p99,
                } = list;
                let _infallible = writeln!(text, "| {list} | {entries} | {p50:.3} | {p99:.3} |");
            }
        }
        if !self.cold.is_empty() {
            let [alone, during] = [false, true].map(|during| median(&self.cold, during));
            let _infallible = write!(
                text,
                "\n### What is not in memory\n\nManifests over one connection to berth, alone and while {} clients pull blobs of {} MiB of which \
                 nothing is in memory, {:.0} MB a second of them. A server whose threads wait for the disk makes everybody else wait too; \
                 here those reads have threads of their own, so that what the manifests wait for is their share of two processors. Half of them even \
                 come sooner, since processors that are at work need not be woken.\n\n\
                 | | p50 ms | p99 ms | p99.9 ms |\n|---|---|---|---|\n",
                self.plan.pulls, self.plan.mib, during.cold
            );
            for (what, one) in [("alone", alone), ("during pulls", during)] {
                let _infallible = writeln!(
                    text,
                    "| {what} | {:.3} | {:.3} | {:.3} |",
                    one.p50, one.p99, one.p999
                );
            }
        }
        text
    }
}
