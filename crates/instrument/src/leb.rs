//! LEB128 numbers of a given width. Other encoders write minimal numbers; here a number can keep the width to which it
//! was padded.

/// The width of the minimal encoding of an unsigned number, in bytes.
pub(crate) const fn minimal_width(value: u64) -> u8 {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as u8
}

/// Appends an unsigned number of exactly `width` bytes.
pub(crate) fn write(out: &mut Vec<u8>, value: u64, width: u8) {
    let begin = out.len();
    out.resize(begin + usize::from(width), 0);
    put(&mut out[begin..], value);
}

/// Encodes an unsigned number so that it fills `out`.
pub(crate) fn put(out: &mut [u8], mut value: u64) {
    if let Some((last, others)) = out.split_last_mut() {
        for byte in others {
            *byte = (value & 0x7f) as u8 | 0x80;
            value >>= 7;
        }
        *last = value as u8;
    }
}

/// Decodes the unsigned number that fills `bytes`. Bits beyond 64 are ignored.
#[inline(always)]
pub(crate) fn value(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// Decodes the unsigned number at the start of `bytes`. Returns the number and its width in bytes; `None` if the
/// number does not end within `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let width = bytes.iter().position(|byte| *byte < 0x80)? + 1;
    Some((value(&bytes[..width]), width))
}

/// Whether a number, padded or not, has at most 64 bits.
pub(crate) fn fits(bytes: &[u8]) -> bool {
    bytes.iter().skip(9).enumerate().all(|(i, byte)| byte & 0x7f <= u8::from(i == 0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_of_more_than_64_bits_do_not_fit() {
        let padded = |byte: u8, padding: &[u8]| [&[0xff; 9][..], &[byte | 0x80], padding].concat();
        for (bytes, expected) in [
            (padded(1, &[0]), true),
            (padded(1, &[0x80, 0]), true),
            (padded(2, &[0]), false),
            (padded(0, &[1]), false),
            (vec![0xff; 9], true),
        ] {
            assert_eq!(fits(&bytes), expected, "{bytes:x?}");
        }
    }

    use super::*;

    #[test]
    fn numbers_come_back_in_every_width() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            for width in minimal_width(number)..=10 {
                let mut bytes = Vec::new();
                write(&mut bytes, number, width);
                assert_eq!((bytes.len(), value(&bytes)), (width as usize, number));
                bytes.push(5);
                assert_eq!(read(&bytes), Some((number, width as usize)));
            }
        }
        assert_eq!(read(&[0x80, 0x80]), None);
    }
}
