//! Numbers that scatter what must not be in step with the program: nothing depends on how good they are.

/// The number after that one, which is not 0: xorshift32 (Marsaglia 2003).
#[inline]
pub(super) fn after(mut random: u32) -> u32 {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    random
}
