//! Corrects modelled step durations by samples, so that the spans of a function take as long in total as its samples
//! say.
//!
//! A step belongs to the innermost open function between its two events. For each function, modelled and sampled time
//! are added up. Their ratio is the factor for its further steps.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use wasmtrace_abi::buffer::Kind;

/// Minimum number of samples for corrections.
const LEAST: u32 = 100;

/// Weight in samples that is added to both sides of a ratio: functions with few samples have no meaningful ratio.
const CERTAIN: f32 = 10.0;

/// Maximum factor of a correction, in both directions.
const MOST: f32 = 8.0;

/// Maximum number of open calls that are tracked.
const MOST_OPEN: usize = 1 << 20;

/// Correction factors of functions, learned from samples.
#[derive(Debug)]
pub(super) struct Fit {
    /// Whether corrections apply.
    pub(super) is_on: bool,
    /// By function id; the first row is the time outside of all functions.
    rows: Vec<Row>,
    places: HashMap<u32, u32, FxBuildHasher>,
    /// The rows of the open calls, and the number of untracked ones.
    open: Vec<u32>,
    beyond: u64,
    samples: u32,
    sampled: f32,
    modelled: f32,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Sampled nanoseconds.
    sampled: f32,
    modelled: f32,
    factor: f32,
}

impl Default for Fit {
    fn default() -> Self {
        let nobody = Row { sampled: 0.0, modelled: 0.0, factor: 1.0 };
        Fit {
            is_on: true,
            rows: vec![nobody],
            places: HashMap::default(),
            open: Vec::new(),
            beyond: 0,
            samples: 0,
            sampled: 0.0,
            modelled: 0.0,
        }
    }
}

impl Fit {
    /// Processes a word and returns the row that the following time belongs to.
    #[inline(always)]
    pub(super) fn step(&mut self, word: u32) -> u32 {
        if !self.is_on {
            return 0;
        }
        if word & 3 == Kind::Enter as u32 {
            let row = *self.places.entry(word >> 2).or_insert_with(|| {
                self.rows.push(Row { sampled: 0.0, modelled: 0.0, factor: 1.0 });
                self.rows.len() as u32 - 1
            });
            match self.open.len() < MOST_OPEN {
                true => self.open.push(row),
                false => self.beyond += 1,
            }
        } else if self.beyond > 0 {
            self.beyond -= 1;
        } else {
            self.open.pop();
        }
        self.current()
    }

    /// The row that the current time belongs to.
    #[inline(always)]
    pub(super) fn current(&self) -> u32 {
        self.open.last().copied().unwrap_or(0)
    }

    /// The corrected duration of a step in that row.
    #[inline(always)]
    pub(super) fn corrected(&self, row: u32, takes: u32) -> u32 {
        if !self.is_on {
            return takes;
        }
        (takes as f32 * self.rows[row as usize].factor) as u32
    }

    /// Adds a step of that row with its modelled nanoseconds.
    #[inline(always)]
    pub(super) fn took(&mut self, row: u32, nanos: f32) {
        if !self.is_on {
            return;
        }
        self.rows[row as usize].modelled += nanos;
        self.modelled += nanos;
    }

    /// Adds a sample in that function.
    pub(super) fn sampled(&mut self, function: Option<u32>, weight: u64) {
        if !self.is_on {
            return;
        }
        let known = function.and_then(|id| self.places.get(&id)).copied();
        let row = known.unwrap_or(self.current());
        self.rows[row as usize].sampled += weight as f32;
        self.sampled += weight as f32;
        self.samples += 1;
        if self.samples >= LEAST && self.samples.is_multiple_of(16) {
            self.correct();
        }
    }

    fn correct(&mut self) {
        let each = self.sampled / self.samples as f32;
        let scale = self.sampled / self.modelled.max(1.0);
        for row in &mut self.rows {
            let (sampled, modelled) = (row.sampled + CERTAIN * each, row.modelled * scale + CERTAIN * each);
            // The modelled time contains the factor already.
            row.factor = (row.factor * sampled / modelled).clamp(1.0 / MOST, MOST);
            // Older measurements count less and less, so that a wrong factor need not be compensated later.
            row.sampled *= FORGET;
            row.modelled *= FORGET;
        }
        self.sampled *= FORGET;
        self.modelled *= FORGET;
    }
}

/// Weight that older measurements keep at each correction.
const FORGET: f32 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtrace_abi::buffer::word;
    use wasmtrace_abi::hook::ProbeId;

    /// Two functions that the model takes to be alike, of which one takes four times as long as the other.
    #[test]
    fn what_functions_take_in_sum_comes_to_agree_with_samples() {
        let mut fit = Fit::default();
        let [a, b] = [1, 2].map(|id| word(ProbeId(id), Kind::Enter));
        let mut random = 7u32;
        let mut shares = [0.0; 2];
        for round in 0..20_000 {
            let mut took = [0.0; 2];
            for (i, enter) in [a, b].into_iter().enumerate() {
                let row = fit.step(enter);
                took[i] = fit.corrected(row, 6_400) as f32;
                fit.step(enter | 1);
            }
            // What lies between two stamps is known: the two share it.
            let sum = took[0] + took[1];
            for (i, id) in [1, 2].into_iter().enumerate() {
                fit.took(fit.places[&id], took[i] / sum * 1_000.0);
                if round >= 10_000 {
                    shares[i] += took[i] / sum;
                }
            }
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            fit.sampled(Some(if random >> 16 & 0xffff < 52_429 { 1 } else { 2 }), 1_000);
        }
        let share = shares[0] / (shares[0] + shares[1]);
        assert!((0.77..0.83).contains(&share), "{share}");
    }
}
