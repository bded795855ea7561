//! Theorem: a Manifest of any bytes is refused, or says something that is written back as the same: reading it forgets
//! nothing and invents nothing. Nothing panics.

use arbtest::arbitrary::{self, Unstructured};
use wasmtrace::ErrorKind;
use wasmtrace::hook::Manifest;

use super::damaged::damage;

/// Reads these bytes.
pub fn a_manifest_is_refused_or_means_something(data: &[u8]) -> bool {
    match Manifest::decode(data, 0) {
        Ok(manifest) => {
            let again = Manifest::decode(&manifest.encode(), 0).expect("what was read can be written");
            assert!(again == manifest, "{manifest:?} was written as {again:?}");
            true
        }
        Err(e) => {
            assert!(e.kind() == ErrorKind::Restore && e.offset().is_some_and(|at| at <= data.len()), "{e}");
            false
        }
    }
}

/// One of these Manifests, damaged; or bytes that never were one, behind a beginning that is right.
pub fn a_damaged_manifest_is_refused_or_means_something(
    u: &mut Unstructured<'_>,
    manifests: &[Vec<u8>],
) -> arbitrary::Result<bool> {
    let mut data = manifests[u.choose_index(manifests.len())?].clone();
    if u.ratio(1, 8)? {
        let kept = u.int_in_range(0..=data.len().min(64))?;
        data.truncate(kept);
        data.extend_from_slice(u.bytes(u.len())?);
    } else {
        for _ in 0..u.int_in_range(1..=4)? {
            damage(u, &mut data)?;
        }
    }
    Ok(a_manifest_is_refused_or_means_something(&data))
}
