//! Manual spans of a run, for formats that show them apart from calls. A manual span may outlive the call that opened it,
//! so it need not nest with calls; manual spans nest with each other.

use std::sync::Arc;

use crate::span_builder::{Change, What};

/// A manual span.
#[derive(Debug, Clone)]
pub(super) struct ManualSpan {
    pub(super) name: Arc<str>,
    /// Nanoseconds since the start of the run.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Number of manual spans around it.
    pub(super) depth: u32,
    /// Its tags.
    pub(super) tags: Vec<(String, String)>,
    /// Number of openings: more than 1 if short spans were merged.
    pub(super) calls: u64,
}

/// Collects the manual spans of a run, in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct ManualSpans {
    all: Vec<ManualSpan>,
    /// The numbers of the open spans and their places in the list.
    open: Vec<(u64, usize)>,
}

impl ManualSpans {
    /// Handles a change. Returns whether it was about a manual span.
    pub(super) fn change(&mut self, change: &Change<'_>) -> bool {
        match change {
            Change::Opened { number, what: What::Manual(name), at } => {
                self.open.push((*number, self.all.len()));
                let (name, depth) = (name.clone(), self.open.len() as u32 - 1);
                self.all.push(ManualSpan { name, start: *at, end: *at, depth, tags: Vec::new(), calls: 1 });
                true
            }
            Change::Closed { span, .. } if matches!(span.what, What::Manual(_)) => {
                let at = self.open.iter().rposition(|(number, _)| *number == span.number);
                if let Some((_, place)) = at.map(|at| self.open.remove(at)) {
                    let own = &mut self.all[place];
                    (own.end, own.calls, own.tags) = (span.end, span.calls, span.tags.to_vec());
                }
                true
            }
            _ => false,
        }
    }

    /// All manual spans, in the order of their beginnings.
    pub(super) fn all(&self) -> &[ManualSpan] {
        &self.all
    }
}
