//! Where calls are counted elsewhere for a while: words alone, in [`super::super::profile`].

use super::{Open, SpanBuilder, What};

impl SpanBuilder {
    /// Takes calls that were entered and left elsewhere: `low` spans have been open all the time, and those behind them are what
    /// is open now. How many entries that were is added to the calls.
    pub(crate) fn catch_up<'w>(&mut self, low: usize, open: impl Iterator<Item = &'w What>, calls: u64) {
        debug_assert!(self.open.is_none(), "exits are counted by function from the first stray one on");
        let gone = self.stack.drain(low.min(self.stack.len())..);
        self.manual -= gone.filter(|open| open.call.is_none()).count();
        for what in open {
            self.opened += 1;
            let call = match what {
                What::Call(probe) => Some(*probe),
                What::Manual(_) => None,
            };
            self.stack.push(Open { number: self.opened, call, start: self.last, inside: 0, more: None });
        }
        self.calls += calls;
    }

    /// Lets what is open begin anew at that time: from now on no event has one. Gives what each open span had taken until then,
    /// outermost first: its own time, and all of it.
    pub(crate) fn restart(&mut self, at: u64) -> Vec<(u64, u64)> {
        self.last = self.last.max(at);
        let mut inner = 0;
        let mut taken: Vec<(u64, u64)> = Vec::with_capacity(self.stack.len());
        for open in self.stack.iter_mut().rev() {
            let duration = self.last - open.start;
            taken.push((duration.saturating_sub(open.inside + inner), duration));
            (open.start, open.inside, inner) = (self.last, 0, duration);
        }
        taken.reverse();
        taken
    }
}
