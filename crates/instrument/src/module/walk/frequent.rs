//! Skipping frequent operators without wasmparser.
//!
//! Without validation, most of the time for a body is spent on decoding operators for a visitor. Here the opcode
//! determines the length of an operator. Anything unusual is left to wasmparser: another opcode, a number that is not
//! minimal, the end of the body. All errors in a body are therefore found by wasmparser, and new proposals need no
//! change here.

use wasmparser::FrameKind;

use super::notes::Notes;
use super::sites::Site;
use crate::leb;

/// The operands after an opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Nothing,
    /// A LEB128 number of at most 32 or 64 bits.
    Leb32,
    Leb64,
    /// Two numbers: alignment and offset.
    Memarg,
    Bytes(u8),
    /// A block type of one byte.
    Block(FrameKind),
    /// An operator that is noted.
    Special,
    /// Left to wasmparser.
    Unknown,
}

/// By opcode (core specification, binary format, "Instructions").
const BEHIND: [Behind; 256] = {
    let mut behind = [Behind::Unknown; 256];
    let mut opcode = 0;
    while opcode < 256 {
        behind[opcode] = match opcode as u8 {
            0x02 => Behind::Block(FrameKind::Block),
            0x03 => Behind::Block(FrameKind::Loop),
            0x04 => Behind::Block(FrameKind::If),
            0x01 | 0x1a | 0x1b | 0x45..=0xc4 => Behind::Nothing,
            0x0d | 0x20..=0x24 | 0x41 => Behind::Leb32,
            0x42 => Behind::Leb64,
            0x28..=0x3e => Behind::Memarg,
            0x43 => Behind::Bytes(4),
            0x44 => Behind::Bytes(8),
            UNREACHABLE | ELSE | END | BR | RETURN | CALL | CALL_INDIRECT => Behind::Special,
            _ => Behind::Unknown,
        };
        opcode += 1;
    }
    behind
};

const UNREACHABLE: u8 = 0x00;
const ELSE: u8 = 0x05;
const END: u8 = 0x0b;
const BR: u8 = 0x0c;
const RETURN: u8 = 0x0f;
const CALL: u8 = 0x10;
const CALL_INDIRECT: u8 = 0x11;

/// Skips operators and returns their length, up to the first that is left to wasmparser, which the end of the body
/// always is. `code` is the remaining code with its position.
pub(super) fn pass(
    notes: &mut Notes<'_>,
    open: &mut Vec<FrameKind>,
    functions: u32,
    (code, start): (&[u8], usize),
) -> usize {
    let mut at = 0;
    // Code after the end is an error.
    while !open.is_empty()
        && let Some(next) = operator(notes, open, functions, (code, start), at)
    {
        at = next;
        notes.size.operators += 1;
    }
    at
}

/// The end of the operator that begins at `at`. `None` leaves it to wasmparser, without any note.
#[inline(always)]
fn operator(
    notes: &mut Notes<'_>,
    open: &mut Vec<FrameKind>,
    functions: u32,
    (code, start): (&[u8], usize),
    at: usize,
) -> Option<usize> {
    let opcode = *code.get(at)?;
    let (place, behind) = (start + at, at + 1);
    match BEHIND[usize::from(opcode)] {
        Behind::Nothing => Some(behind),
        Behind::Leb32 => leb32(code, behind),
        Behind::Leb64 => end_of_leb(code, behind, 9),
        // A larger first byte contains a memory index or is invalid.
        Behind::Memarg => (*code.get(behind)? < 32).then(|| leb32(code, behind + 1))?,
        Behind::Bytes(bytes) => Some(behind + usize::from(bytes)).filter(|next| *next <= code.len()),
        Behind::Block(kind) => {
            // No result, or a number type.
            if !matches!(*code.get(behind)?, 0x40 | 0x7c..=0x7f) {
                return None;
            }
            open.push(kind);
            match kind {
                FrameKind::Loop => {
                    note!(notes place visit_loop);
                }
                _ => {
                    note!(notes place visit_block);
                }
            }
            Some(behind + 1)
        }
        Behind::Special => special(notes, open, functions, code, (opcode, place), behind),
        Behind::Unknown => None,
    }
}

#[inline(always)]
fn special(
    notes: &mut Notes<'_>,
    open: &mut Vec<FrameKind>,
    functions: u32,
    code: &[u8],
    (opcode, place): (u8, usize),
    behind: usize,
) -> Option<usize> {
    match opcode {
        UNREACHABLE => {
            note!(notes place visit_unreachable);
        }
        RETURN => {
            note!(notes place visit_return);
        }
        ELSE => {
            let last = open.last_mut().filter(|last| **last == FrameKind::If)?;
            *last = FrameKind::Else;
        }
        END => {
            if open.len() < 2 {
                return None;
            }
            open.pop();
            note!(notes place visit_end);
        }
        BR => {
            let next = leb32(code, behind)?;
            let depth = leb::value(&code[behind..next]) as u32;
            note!(notes place visit_br depth);
            return Some(next);
        }
        CALL => {
            let next = leb32(code, behind)?;
            let func = leb::value(&code[behind..next]) as u32;
            if func >= functions {
                return None;
            }
            note!(notes place visit_call func);
            return Some(next);
        }
        _ => {
            let next = leb32(code, behind)?;
            // A table other than the first.
            if *code.get(next)? != 0 {
                return None;
            }
            note!(notes place visit_call_indirect);
            return Some(next + 1);
        }
    }
    Some(behind)
}

/// The end of the number that begins at `at`, if it is so short that every value is valid.
#[inline(always)]
fn leb32(code: &[u8], at: usize) -> Option<usize> {
    end_of_leb(code, at, 4)
}

#[inline(always)]
fn end_of_leb(code: &[u8], at: usize, most: usize) -> Option<usize> {
    // Most numbers take one byte.
    if *code.get(at)? < 0x80 {
        return Some(at + 1);
    }
    let rest = code.get(at + 1..(at + most).min(code.len()))?;
    Some(at + 2 + rest.iter().position(|byte| *byte < 0x80)?)
}

#[cfg(test)]
mod tests {
    use wasmparser::{BinaryReader, FunctionBody};

    use super::super::{Frames, Visitor, Walker};
    use crate::module::{all_features, parse};

    /// The result of walking a body.
    type Found = Result<(Vec<u8>, super::super::Size, super::super::Exceptions), String>;

    fn passed(body: &[u8], functions: u32) -> Found {
        let mut walker = Walker::default();
        let body = FunctionBody::new(BinaryReader::new_features(body, 7, all_features()));
        walker.decoded(&body, functions, all_features()).map_err(|e| e.to_string())?;
        let found = walker.walked.bodies[0];
        Ok((walker.walked.sites, found.size, found.exceptions))
    }

    /// Walks a body with wasmparser only.
    fn read(body: &[u8], functions: u32) -> Found {
        let mut walker = Walker::default();
        let body = FunctionBody::new(BinaryReader::new_features(body, 7, all_features()));
        let mut open = vec![wasmparser::FrameKind::Block];
        let mut astray = false;
        let mut notes = walker.notes(&body);
        let mut decode = || -> wasmparser::Result<_> {
            let mut reader = body.get_binary_reader_for_operators()?;
            reader.set_features(all_features());
            while !reader.eof() {
                let at = reader.original_position();
                notes.size.operators += 1;
                let inner = Frames { open: &mut open, functions, astray: &mut astray };
                reader.visit_operator(&mut Visitor { inner, notes: &mut notes, at })?;
            }
            let found = (notes.size, notes.exceptions);
            reader.finish_expression(&Frames { open: &mut open, functions, astray: &mut astray })?;
            Ok(found)
        };
        let (size, exceptions) = decode().map_err(|e| wasmtrace_abi::error::Error::from(e).to_string())?;
        match astray {
            true => Err(super::super::ASTRAY.to_owned()),
            false => Ok((walker.walked.sites, size, exceptions)),
        }
    }

    fn assert_same(body: &[u8], functions: u32, what: &str) {
        match (passed(body, functions), read(body, functions)) {
            (Err(ours), Err(theirs)) if theirs == super::super::ASTRAY => assert!(ours.starts_with(&theirs), "{what}"),
            (ours, theirs) => assert_eq!(ours, theirs, "{what}"),
        }
    }

    #[test]
    fn every_body_of_the_corpus_reads_the_same_whole_and_damaged() {
        let mut rng = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            (rng % below as u64) as usize
        };
        let mut bodies = 0;
        for folder in ["shapes", "real", "dwarf"] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(folder);
            let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
            for path in files.filter(|path| path.extension().is_some_and(|e| e == "wasm" || e == "wat")) {
                let Ok(wasm) = wat::parse_file(&path) else { continue };
                let Ok(module) = parse(&wasm) else { continue };
                for func in module.defined_funcs() {
                    let body = &wasm[module.body(func)];
                    let what = format!("function {} of {}", func.0, path.display());
                    assert_same(body, module.func_count(), &what);
                    bodies += 1;
                    if body.len() > 4096 {
                        continue;
                    }
                    for _ in 0..8 {
                        let mut damaged = body.to_vec();
                        for _ in 0..1 + random(3) {
                            let at = random(damaged.len());
                            damaged[at] = random(256) as u8;
                        }
                        damaged.truncate(damaged.len() - if random(4) == 0 { random(damaged.len()) } else { 0 });
                        assert_same(&damaged, module.func_count(), &what);
                    }
                }
            }
        }
        assert!(bodies > 1000, "{bodies} bodies");
    }
}
