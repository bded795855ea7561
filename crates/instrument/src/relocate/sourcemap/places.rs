//! The places in source files that a source map has for functions and instructions.

use std::collections::HashMap;
use std::sync::Arc;

use super::json::text_of;
use super::{Part, SourceMap};
use crate::module::{FuncIdx, Module, id};

/// Maximum length of a path in bytes. Longer paths are damaged or malicious.
const LONGEST_PATH: usize = 4 << 10;

impl SourceMap<'_> {
    /// File and line (from 1) of the first segment of each function that has one in a source that is not ignored.
    pub(crate) fn functions(&self, module: &Module<'_>) -> HashMap<FuncIdx, (Arc<str>, u32)> {
        let Some(code) = module.section(id::CODE) else { return HashMap::new() };
        let funcs: Vec<FuncIdx> = module.defined_funcs().collect();
        let ends: Vec<usize> = funcs.iter().map(|func| module.body(*func).end).collect();
        // By body: the column, then the part, the source and the line.
        let mut first: Vec<Option<(u64, usize, u64, u64)>> = vec![None; funcs.len()];
        for (number, part) in self.parts.iter().enumerate() {
            let Ok(mappings) = self.mappings(part) else { continue };
            for segment in part.segments(&mappings).map_while(Result::ok) {
                let Some((source, line)) = segment.place.filter(|(source, _)| !part.ignored.contains(source)) else {
                    continue;
                };
                let at = segment.column as usize;
                let body = ends.partition_point(|end| *end <= at);
                if at < code.contents.start || body >= funcs.len() {
                    continue;
                }
                if first[body].is_none_or(|(column, ..)| segment.column < column) {
                    first[body] = Some((segment.column, number, source, line));
                }
            }
        }
        let mut paths: HashMap<(usize, u64), Option<Arc<str>>> = HashMap::new();
        // Sources may have very long names, with a common root.
        let mut room = module.bytes().len() + self.text.len() + (1 << 20);
        let mut found = HashMap::new();
        for (func, first) in funcs.into_iter().zip(first) {
            let Some((_, part, source, line)) = first else { continue };
            let path = paths.entry((part, source)).or_insert_with(|| {
                let path = self.path(&self.parts[part], source).filter(|path| path.len() <= room)?;
                room -= path.len();
                Some(path.into())
            });
            if let (Some(path), Ok(line)) = (path, u32::try_from(line + 1)) {
                found.insert(func, (path.clone(), line));
            }
        }
        found
    }

    /// File and line (from 1) of each offset in the module, from the last segment that begins there or before. Offsets
    /// must ascend.
    pub(crate) fn lines(&self, wanted: &[u64]) -> Vec<Option<(Arc<str>, u32)>> {
        /// The start of a segment, its part, and its source and line.
        type Begins = (u64, usize, Option<(u64, u64)>);
        let mut all: Vec<Begins> = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            let Ok(mappings) = self.mappings(part) else { continue };
            let segments = part.segments(&mappings).map_while(Result::ok);
            all.extend(segments.map(|segment| (segment.column, number, segment.place)));
        }
        all.sort_by_key(|(column, ..)| *column);
        let mut paths: HashMap<(usize, u64), Option<Arc<str>>> = HashMap::new();
        let mut line = |at: &u64| {
            let next = all.partition_point(|(column, ..)| column <= at);
            let (_, part, place) = all[..next].last()?;
            let (source, line) = place.filter(|(source, _)| !self.parts[*part].ignored.contains(source))?;
            let path = paths.entry((*part, source));
            let path = path.or_insert_with(|| self.path(&self.parts[*part], source).map(Into::into)).clone()?;
            Some((path, u32::try_from(line + 1).ok()?))
        };
        wanted.iter().map(&mut line).collect()
    }

    fn path(&self, part: &Part, source: u64) -> Option<String> {
        let name = part.sources.get(usize::try_from(source).ok()?)?.clone()?;
        let name = text_of(&self.text, name).ok()?;
        let root = part.root.clone().and_then(|root| text_of(&self.text, root).ok()).unwrap_or_default();
        let path = match &*root {
            "" => name.into_owned(),
            root => format!("{}/{name}", root.trim_end_matches('/')),
        };
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        (!path.is_empty() && path.len() <= LONGEST_PATH).then_some(path)
    }
}
