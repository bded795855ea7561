//! The comparison of one body with its original.

use std::ops::Range;

use wasmparser::Operator;

use super::failure::fail;
use super::operators::{Label, catches_behind, is_plain, is_tail_call, opens_a_label};
use super::pair::Pair;
use crate::erase::{Erasure, Hook, Hooked, Piece};
use crate::mapping::Insertion;
use crate::module::FuncIdx;
use wasmtrace_abi::error::Result;

/// The state of the comparison.
pub(super) struct Matched<'p, 'c, 'a> {
    pair: &'p Pair<'c, 'a>,
    func: FuncIdx,
    hooked: Option<Hooked>,
    /// The start of the original body and the start of the instrumented body.
    starts: Range<usize>,
    /// The open labels of the original.
    labels: Vec<Label>,
    /// The number of labels that the original has opened.
    opened: u32,
    /// Whether hooks may be missing, because they could not be written into this body.
    pub(super) may_lack: bool,
    /// Whether the catch sites of this body have hooks.
    reports_catches: bool,
    /// Whether tail calls have an exit hook before them.
    leaves: bool,
    pub(super) hook_labels: Vec<u32>,
    pub(super) memory_grows: usize,
    /// For each operator of the original: its offset from the start of the body, before and after. Empty if no section
    /// refers to operators by their offsets.
    pub(super) places: Vec<(u32, u32)>,
    pub(super) growths: Vec<Insertion>,
}

/// An operator of the instrumented body and the hooks before it.
pub(super) struct Before<'a> {
    hooks: Vec<Hook>,
    operator: Operator<'a>,
    range: Range<usize>,
}

impl Before<'_> {
    fn has(&self, wanted: Hook) -> bool {
        self.hooks.contains(&wanted)
    }
}

impl<'p, 'c, 'a> Matched<'p, 'c, 'a> {
    pub(super) fn new(
        pair: &'p Pair<'c, 'a>,
        func: FuncIdx,
        hooked: Option<Hooked>,
        starts: Range<usize>,
    ) -> Result<Self> {
        let new_func = FuncIdx(pair.place(func.0));
        let may_lack = hooked.is_none() && (pair.old.is_shared(func) || pair.may_be_too_large(new_func)?);
        let reports_catches =
            hooked.is_some_and(|hooked| hooked.frame.catches && !pair.code.caught(hooked.frame).is_empty());
        let leaves = hooked.is_some_and(|hooked| !pair.code.leave(hooked.frame).is_empty());
        let mut hook_labels = Vec::new();
        if let Some(Hooked { frame, wrapper, .. }) = hooked
            && frame.id.is_none()
        {
            // For functions with a probe, the section `name` already counts the labels at the start of a body.
            hook_labels.extend(std::iter::repeat_n(0, (pair.code.labels().0 + wrapper.labels()) as usize));
        }
        Ok(Matched {
            pair,
            func,
            hooked,
            starts,
            labels: vec![Label::default()],
            opened: 0,
            may_lack,
            reports_catches,
            leaves,
            hook_labels,
            memory_grows: 0,
            places: Vec::new(),
            growths: Vec::new(),
        })
    }

    /// Records that `by` bytes were added at the file offset `at` of the original.
    pub(super) fn grown(&mut self, at: usize, by: usize, inserted: bool) {
        if by > 0 {
            self.growths.push(Insertion { at: (at - self.starts.start) as u32, by: by as u32, inserted });
        }
    }

    /// Reads the next operator and the hooks before it. `at` is the file offset of that operator in the original.
    pub(super) fn hooks_before(&mut self, erased: &mut Erasure<'a>, at: usize) -> Result<Before<'a>> {
        let mut hooks: Vec<Hook> = Vec::new();
        loop {
            match erased.next()? {
                Some(Piece::Hook(hook, range)) => {
                    if hooks.last().is_some_and(|last| *last >= hook) {
                        return Err(fail(range.start, "hooks are in the wrong order"));
                    }
                    self.grown(at, range.len(), true);
                    hooks.push(hook);
                }
                Some(Piece::Operator(operator, range)) => return Ok(Before { hooks, operator, range }),
                None => return Err(fail(erased.at(), "operators are missing at the end of a body")),
            }
        }
    }

    /// Whether an operator is the original one, and neither it nor the one `behind` it concerns labels or hooks. Most do not,
    /// and nothing else has to be checked.
    pub(super) fn is_plainly_same(
        &mut self,
        behind: Option<&Operator<'_>>,
        range: Range<usize>,
        before: &Before<'_>,
    ) -> bool {
        let old = &self.pair.old.bytes()[range.clone()];
        let is_same = behind.is_none()
            && before.hooks.is_empty()
            && is_plain(old[0])
            && *old == self.pair.new.bytes()[before.range.clone()];
        if is_same && self.pair.has_notes {
            self.place(&range, before);
        }
        is_same
    }

    fn place(&mut self, range: &Range<usize>, before: &Before<'_>) {
        let (old, new) = (range.start - self.starts.start, before.range.start - self.starts.end);
        self.places.push((old as u32, new as u32));
    }

    /// Updates the labels for the operator `behind`, which precedes `before`. Checks that the body reports each
    /// possible catch, and no other.
    pub(super) fn follow(&mut self, behind: Option<&Operator<'_>>, before: &Before<'_>) -> Result<()> {
        let reports = before.has(Hook::Caught);
        let Some(behind) = behind else { return self.nothing_caught(reports, before) };
        self.opened += opens_a_label(behind) as u32;
        let at = before.range.start;
        let must = catches_behind(behind, &mut self.labels, self.reports_catches.then_some(reports))
            .map_err(|what| fail(at, what))?;
        match (must && self.reports_catches, reports) {
            (true, false) => Err(fail(at, "a hook is missing")),
            (false, true) => self.nothing_caught(true, before),
            (true, true) => {
                self.add_labels(self.pair.code.labels().0);
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }

    fn nothing_caught(&self, reports: bool, before: &Before<'_>) -> Result<()> {
        match reports {
            true => Err(fail(before.range.start, "a hook reports a caught exception where none is possible")),
            false => Ok(()),
        }
    }

    fn add_labels(&mut self, count: u32) {
        self.hook_labels.extend(std::iter::repeat_n(self.opened, count as usize));
    }

    /// Checks that the hooks before an operator are the required ones.
    pub(super) fn belong(&mut self, operator: &Operator<'_>, before: &Before<'_>) -> Result<()> {
        let (code, at) = (&self.pair.code, before.range.start);
        let (mut must, mut may) = (None, None);
        if is_tail_call(operator) {
            must = self.leaves.then_some((Hook::Leave, "a tail call has no exit hook before it"));
        } else if matches!(operator, Operator::Unreachable) && code.has_unreachable() {
            match self.may_lack {
                true => may = Some(Hook::Unreachable),
                false => must = Some((Hook::Unreachable, "a hook is missing")),
            }
        } else if matches!(operator, Operator::MemoryGrow { mem: 0 }) {
            may = Some(Hook::Grow);
        } else if self.is_last(operator) && self.hooked.is_some() {
            let caught = self.labels[0].named && self.reports_catches;
            must = Some((Hook::Close(caught), "the body does not end with its exit hook"));
        }
        if let Some((hook, missing)) = must
            && !before.has(hook)
        {
            return Err(fail(at, missing));
        }
        let known = |hook: &&Hook| {
            **hook == Hook::Open
                || **hook == Hook::Caught
                || may == Some(**hook)
                || must.is_some_and(|(m, _)| m == **hook)
        };
        if before.hooks.iter().any(|hook| !known(&hook)) {
            return Err(fail(at, "a hook is misplaced"));
        }
        if before.has(Hook::Leave) {
            self.add_labels(code.labels().1);
        }
        self.memory_grows += before.has(Hook::Grow) as usize;
        Ok(())
    }

    /// Whether the operator is the last `end` of the function.
    fn is_last(&self, operator: &Operator<'_>) -> bool {
        self.labels.len() == 1 && matches!(operator, Operator::End)
    }

    /// Checks that the operator is the original one, except for its function index, or a branch instead of a `return`.
    pub(super) fn same(&mut self, old: &Operator<'_>, range: Range<usize>, before: &Before<'_>) -> Result<()> {
        let (new, at) = (&before.operator, before.range.start);
        if self.pair.has_notes {
            self.place(&range, before);
        }
        let depth = self.labels.len() as u32 - 1;
        let is_return = matches!(old, Operator::Return);
        // A number starts after the first byte of its operator. A replaced `return` grows as a whole.
        let longer = before.range.len().saturating_sub(range.len());
        self.grown(if is_return { range.start } else { range.start + 1 }, longer, false);
        let pair = self.pair;
        match (old, new) {
            (Operator::Return, Operator::Br { relative_depth })
                if self.hooked.is_some() && *relative_depth == depth => {}
            (Operator::Return, _) if self.hooked.is_some() => {
                return Err(fail(at, "a return does not pass the exit hook"));
            }
            (Operator::Call { function_index: x }, Operator::Call { function_index: y })
            | (Operator::ReturnCall { function_index: x }, Operator::ReturnCall { function_index: y })
            | (Operator::RefFunc { function_index: x }, Operator::RefFunc { function_index: y })
                if pair.moved(*x) == *y => {}
            _ if pair.old.bytes()[range] == pair.new.bytes()[before.range.clone()]
                && !matches!(old, Operator::Call { .. } | Operator::ReturnCall { .. } | Operator::RefFunc { .. }) => {}
            _ => return Err(fail(at, format!("{old:?} became {new:?} in function {}", self.func.0))),
        }
        Ok(())
    }
}
