//! The `target_features` section says what a linked module uses (tool-conventions, "Target Features Section"), and tools that come
//! behind us believe it: Binaryen's refuse what it does not name.
//!
//! It lists all that the module uses, so where there is none, one with the hooks' alone would be false.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

/// The section's name.
pub(crate) const NAME: &str = "target_features";

const USED: u8 = b'+';
const REQUIRED: u8 = b'=';

/// What the hooks use, by the names that the section has for it. `rethrows`: what they catch they hold as a reference.
pub(crate) fn used_by_hooks(exit_guard: bool, rethrows: bool, second_memory: bool) -> Vec<&'static str> {
    let used =
        [(rethrows, "exception-handling"), (exit_guard || rethrows, "reference-types"), (second_memory, "multimemory")];
    used.into_iter().filter(|(used, _)| *used).map(|(_, name)| name).collect()
}

/// The section's data with these among what is used; `None` where it says so already, or is damaged.
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
