//! Pseudo-random numbers that decorrelate measurements from the program. Their quality does not matter.

/// The next pseudo-random number, never 0: xorshift32 (Marsaglia 2003).
#[inline]
pub(super) fn after(mut random: u32) -> u32 {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    random
}
