//! What came of the cells.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};

use super::who::NOT_LESS;

/// The cells of a part of the matrix, and those that are wrong.
#[derive(Default)]
pub(crate) struct Report {
    cells: usize,
    wrong: Vec<String>,
    /// By cell without who asks, who was let in.
    let_in: BTreeMap<String, HashMap<&'static str, bool>>,
}

/// Most wrong cells that are shown.
const SHOWN: usize = 40;

impl Report {
    /// Counts a cell, and notes if it is wrong: what is asked, by whom, and how.
    pub(crate) fn cell(
        &mut self,
        what: &str,
        who: &'static str,
        expected: impl fmt::Debug,
        got: impl fmt::Debug,
    ) {
        self.cells += 1;
        let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
        if expected != got {
            self.wrong
                .push(format!("{what}, by {who}: expected {expected}, got {got}"));
        }
    }

    /// Notes who was let in, for [`NOT_LESS`].
    pub(crate) fn let_in(&mut self, what: &str, who: &'static str, yes: bool) {
        self.let_in.entry(what.to_owned()).or_default().insert(who, yes);
    }

    /// Fails if anything is wrong.
    pub(crate) fn close(mut self, part: &str) {
        let mut compared = 0;
        for (what, let_in) in &self.let_in {
            for (less, more) in NOT_LESS {
                if let (Some(less_may), Some(more_may)) = (let_in.get(less), let_in.get(more)) {
                    compared += 1;
                    if *less_may && !more_may {
                        self.wrong.push(format!("{what}: {less} may and {more} may not"));
                    }
                }
            }
        }
        println!(
            "{part}: {} cells, {compared} comparisons of who may more",
            self.cells
        );
        let mut shown = String::new();
        for wrong in self.wrong.iter().take(SHOWN) {
            let _writing_to_a_string_succeeds = writeln!(shown, "  {wrong}");
        }
        let (wrong, cells) = (self.wrong.len(), self.cells);
        assert!(wrong == 0, "{part}: {wrong} of {cells} cells are wrong\n{shown}");
        assert!(cells > 0 && compared > 0, "{part}: nothing was asked");
    }
}
