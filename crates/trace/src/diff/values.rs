//! Values of several recordings, before and after.

/// The least, the middle and the greatest value of the recordings of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// The least value.
    pub min: u64,
    /// The median: of an even number of values, the mean of the two in the middle.
    pub median: u64,
    /// The greatest value.
    pub max: u64,
}

impl Spread {
    /// The spread of these values. All zero if there are none.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Spread {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let (Some(min), Some(max)) = (values.first(), values.last()) else { return Spread::default() };
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => values[middle - 1].midpoint(values[middle]),
            _ => values[middle],
        };
        Spread { min: *min, median, max: *max }
    }

    /// Whether no value is in both ranges.
    pub fn is_apart_from(&self, other: &Spread) -> bool {
        self.max < other.min || other.max < self.min
    }
}

/// A value before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// The recordings before the change.
    pub before: Spread,
    /// The recordings after the change.
    pub after: Spread,
    /// Whether the medians differ by more than noise explains.
    pub is_significant: bool,
}

impl Change {
    /// The median after minus the median before.
    pub fn difference(&self) -> i64 {
        let difference = i128::from(self.after.median) - i128::from(self.before.median);
        difference.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The difference relative to the median before: 0.05 is 5 % more. `None` if that is 0 and the other is not.
    pub fn relative(&self) -> Option<f64> {
        match (self.before.median, self.difference()) {
            (_, 0) => Some(0.0),
            (0, _) => None,
            (before, difference) => Some(difference as f64 / before as f64),
        }
    }

    /// Whether the medians differ, but by no more than noise explains.
    pub fn is_within_the_spread(&self) -> bool {
        !self.is_significant && self.difference() != 0
    }
}

/// Whether something occurs before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// On both sides.
    #[default]
    Both,
    /// In no recording before.
    New,
    /// In no recording after.
    Gone,
}

/// All that is compared of a function, a node, or the whole program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// Number of calls, or of openings of a manual span. 0 if a side has samples only.
    pub calls: Change,
    /// Nanoseconds without callees.
    pub self_time: Change,
    /// Nanoseconds from entry to exit, callees included.
    pub total: Change,
    /// Whether it occurs on both sides.
    pub presence: Presence,
    /// Whether more than half of the self time is an estimate, before or after.
    pub is_estimated: bool,
}

impl Values {
    /// Whether the number of calls or the self time differs by more than noise explains.
    pub fn is_significant(&self) -> bool {
        self.calls.is_significant || self.self_time.is_significant
    }

    /// Whether something differs, but nothing by more than noise explains.
    pub fn is_within_the_spread(&self) -> bool {
        let changes = [self.calls, self.self_time, self.total];
        changes.iter().all(|change| !change.is_significant) && changes.iter().any(|change| change.difference() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let median = |values: &[u64]| Spread::of(values.iter().copied()).median;
        assert_eq!([median(&[]), median(&[4]), median(&[9, 1]), median(&[9, 1, 2])], [0, 4, 5, 2]);
        assert_eq!(median(&[u64::MAX, u64::MAX]), u64::MAX);
        assert_eq!(Spread::of([3, 1, 2, 9]), Spread { min: 1, median: 2, max: 9 });
    }

    #[test]
    fn ranges_that_touch_are_not_apart() {
        let range = |min, max| Spread { min, median: min, max };
        assert!(range(1, 2).is_apart_from(&range(3, 4)) && range(3, 4).is_apart_from(&range(1, 2)));
        assert!(!range(1, 3).is_apart_from(&range(3, 4)) && !range(1, 9).is_apart_from(&range(3, 4)));
    }

    #[test]
    fn differences_of_any_size_have_a_sign() {
        let of = |value| Spread { min: value, median: value, max: value };
        let change = |before, after| Change { before: of(before), after: of(after), is_significant: false };
        assert_eq!((change(10, 4).difference(), change(10, 4).relative()), (-6, Some(-0.6)));
        assert_eq!((change(0, u64::MAX).difference(), change(0, 1).relative()), (i64::MAX, None));
        assert_eq!(change(0, 0).relative(), Some(0.0));
        assert!(!change(4, 4).is_within_the_spread() && change(4, 5).is_within_the_spread());
    }
}
