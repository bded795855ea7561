//! The `target_features` section, which lists the features that a linked module uses (tool-conventions, "Target
//! Features Section"). Later tools rely on it: Binaryen rejects features that are not listed.
//!
//! The list must be complete. If there is no such section, a new one with only the features of the hooks would be
//! wrong.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

/// The section's name.
pub(crate) const NAME: &str = "target_features";

const USED: u8 = b'+';
const REQUIRED: u8 = b'=';

/// The features that hooks use, with the section's names. `rethrows`: hooks hold caught exceptions as references.
pub(crate) fn used_by_hooks(exit_guard: bool, rethrows: bool, second_memory: bool) -> Vec<&'static str> {
    let used =
        [(rethrows, "exception-handling"), (exit_guard || rethrows, "reference-types"), (second_memory, "multimemory")];
    used.into_iter().filter(|(used, _)| *used).map(|(_, name)| name).collect()
}

/// The section's data with more used features; `None` if it contains them already or is damaged.
pub(crate) fn with(data: &[u8], more: &[&str]) -> Option<Vec<u8>> {
    let mut reader = BinaryReader::new(data, 0);
    let mut features = Vec::new();
    for _ in 0..reader.read_var_u32().ok()? {
        features.push((reader.read_u8().ok()?, reader.read_string().ok()?));
    }
    let before = features.clone();
    for name in more {
        match features.iter_mut().find(|(_, named)| named == name) {
            Some((prefix, _)) if *prefix != REQUIRED => *prefix = USED,
            Some(_) => {}
            None => features.push((USED, name)),
        }
    }
    if !reader.eof() || features == before {
        return None;
    }
    let mut out = Vec::with_capacity(data.len() + 20 * more.len());
    features.len().encode(&mut out);
    for (prefix, name) in features {
        out.push(prefix);
        name.encode(&mut out);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_named_once_and_what_is_damaged_stays() {
        let more = used_by_hooks(true, false, true);
        assert_eq!(with(b"\x00", &more).unwrap(), b"\x02+\x0freference-types+\x0bmultimemory");
        assert_eq!(with(b"\x01-\x0bmultimemory", &more).unwrap(), b"\x02+\x0bmultimemory+\x0freference-types");
        assert_eq!(with(b"\x02=\x0bmultimemory+\x0freference-types", &more), None);
        assert_eq!(with(b"\x01+\x0bmultimemory", &used_by_hooks(false, false, false)), None);
        assert_eq!(used_by_hooks(false, true, false), ["exception-handling", "reference-types"]);
        for damaged in [&b""[..], b"\x02+\x04atom", b"\x01+\x09atom", b"\x00\x00"] {
            assert_eq!(with(damaged, &more), None, "{damaged:?}");
        }
    }
}
