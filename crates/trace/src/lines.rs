//! Source lines of sampled instructions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::batch::{Batch, MarkKind, Place};
use wasmtrace_abi::hook::ProbeId;

/// Source lines of instructions: a map from probe and offset in the module to file and line (from 1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    at: BTreeMap<(ProbeId, u32), (Arc<str>, u32)>,
    files: HashMap<Arc<str>, ()>,
}

impl Lines {
    /// Adds the line of an instruction.
    pub fn insert(&mut self, id: ProbeId, offset: u32, file: &str, line: u32) {
        let file = match self.files.get_key_value(file) {
            Some((file, ())) => file.clone(),
            None => {
                let file: Arc<str> = file.into();
                self.files.insert(file.clone(), ());
                file
            }
        };
        self.at.insert((id, offset), (file, line));
    }

    /// The file and line of an instruction.
    pub fn get(&self, id: ProbeId, offset: u32) -> Option<(&Arc<str>, u32)> {
        self.at.get(&(id, offset)).map(|(file, line)| (file, *line))
    }

    /// All entries in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ((ProbeId, u32), (&str, u32))> {
        self.at.iter().map(|(at, (file, line))| (*at, (&**file, *line)))
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

/// Number of samples at each instruction.
#[derive(Debug, Clone, Default)]
pub struct Sampled {
    at: HashMap<(ProbeId, u32), u64>,
    elsewhere: u64,
}

/// Maximum number of distinct instructions; 1 MB of code has about this many.
const MOST_PLACES: usize = 1 << 18;

impl Sampled {
    /// Adds the samples of a batch.
    pub fn batch(&mut self, batch: &Batch) {
        for mark in &batch.marks {
            let MarkKind::Sample(sample) = &mark.kind else { continue };
            match sample.place {
                Place::Function { id, offset: Some(offset) } => {
                    let room = self.at.len() < MOST_PLACES;
                    match self.at.get_mut(&(id, offset)) {
                        Some(count) => *count += 1,
                        None if room => _ = self.at.insert((id, offset), 1),
                        None => self.elsewhere += 1,
                    }
                }
                Place::Function { offset: None, .. } | Place::Engine => self.elsewhere += 1,
                Place::Hook | Place::HookModule | Place::Host | Place::Seen => {}
            }
        }
    }

    /// Each instruction with its number of samples, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = ((ProbeId, u32), u64)> {
        self.at.iter().map(|(at, count)| (*at, *count))
    }

    /// Number of samples without a known instruction.
    pub fn elsewhere(&self) -> u64 {
        self.elsewhere
    }
}
