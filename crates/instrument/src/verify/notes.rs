//! Checks `metadata.code.*`: the same notes belong to the same instructions.

use wasmparser::BinaryReader;

use super::pair::Pair;
use crate::module::{FuncIdx, Module, Section};
use crate::verify::failure::fail;
use wasmtrace_abi::error::Result;

const PREFIX: &str = "metadata.code.";

/// The section that lists called functions with their frequencies.
const CALL_TARGETS: &str = "metadata.code.call_targets";

/// The notes on one function: for each, its offset from the start of the body and its contents.
struct OnFunction<'a> {
    func: u32,
    notes: Vec<(u32, &'a [u8])>,
}

pub(super) fn is_notes(section: &Section<'_>) -> bool {
    section.name.is_some_and(|name| name.starts_with(PREFIX))
}

/// Whether the section can be read and each note belongs to a byte of a body. Otherwise the output does not have the
/// section.
pub(super) fn fit(module: &Module<'_>, section: &Section<'_>) -> bool {
    let Ok(all) = read(module, section) else { return false };
    all.iter().all(|on| {
        let func = FuncIdx(on.func);
        module.is_defined(func)
            && on.notes.iter().all(|(at, says)| {
                (*at as usize) < module.body(func).len() && (section.name != Some(CALL_TARGETS) || flat(says).is_ok())
            })
    })
}

fn read<'a>(module: &Module<'a>, section: &Section<'_>) -> Result<Vec<OnFunction<'a>>> {
    let mut r = module.reader(section.data.clone());
    let mut all = Vec::new();
    for _ in 0..r.read_var_u32()? {
        let (func, count) = (r.read_var_u32()?, r.read_var_u32()?);
        let mut notes = Vec::new();
        for _ in 0..count {
            let (at, len) = (r.read_var_u32()?, r.read_var_u32()?);
            notes.push((at, r.read_bytes(len as usize)?));
        }
        all.push(OnFunction { func, notes });
    }
    if r.eof() { Ok(all) } else { Err(fail(r.original_position(), "bytes past the end")) }
}

impl Pair<'_, '_> {
    /// Checks that the notes follow their instructions. `places` has, for each body, the old and new offsets of its
    /// operators.
    pub(super) fn notes(&self, a: &Section<'_>, b: &Section<'_>, places: &[Vec<(u32, u32)>]) -> Result<()> {
        let differs = || fail(b.data.start, "a note does not follow its instruction");
        let (old, new) = (read(self.old, a)?, read(self.new, b)?);
        if old.len() != new.len() {
            return Err(differs());
        }
        for (x, y) in old.iter().zip(&new) {
            if self.place(x.func) != y.func || x.notes.len() != y.notes.len() {
                return Err(differs());
            }
            let places = &places[(x.func - self.from) as usize];
            for ((before, x), (after, y)) in x.notes.iter().zip(&y.notes) {
                // If an offset is not the start of an operator, only its contents are compared.
                if let Ok(found) = places.binary_search_by_key(before, |(old, _)| *old)
                    && places[found].1 != *after
                {
                    return Err(differs());
                }
                let same = match a.name {
                    Some(CALL_TARGETS) => self.targets(x)? == flat(y)?,
                    _ => x == y,
                };
                if !same {
                    return Err(differs());
                }
            }
        }
        Ok(())
    }

    fn targets(&self, note: &[u8]) -> Result<Vec<u32>> {
        let numbers = flat(note)?;
        Ok(numbers.into_iter().enumerate().map(|(i, n)| if i % 2 == 0 { self.moved(n) } else { n }).collect())
    }
}

/// Decodes pairs of a function and a frequency.
fn flat(numbers: &[u8]) -> Result<Vec<u32>> {
    let mut reader = BinaryReader::new(numbers, 0);
    let mut read = Vec::new();
    while !reader.eof() {
        read.extend([reader.read_var_u32()?, reader.read_var_u32()?]);
    }
    Ok(read)
}
