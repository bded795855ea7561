//! Where items of a patched section went.

/// The map of offsets in a patched section.
#[derive(Debug, Default)]
pub(crate) struct SizeDelta {
    pub(super) steps: Vec<(u32, i64)>,
}

impl SizeDelta {
    /// The new offset of an item that began at `old`.
    pub(crate) fn of(&self, old: u64) -> u64 {
        let before = self.steps.partition_point(|(at, _)| u64::from(*at) < old);
        let by = self.steps[..before].last().map_or(0, |(_, sum)| *sum);
        (old as i64 + by) as u64
    }

    /// Growth of the data in bytes.
    pub(crate) fn total(&self) -> i64 {
        self.steps.last().map_or(0, |(_, sum)| *sum)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
