//! What stands behind the original's functions, imports, memories and exports: what hooks need, and nothing else.

use std::collections::BTreeSet;

use wasm_encoder::{BlockType, Encode};
use wasmparser::{CompositeInnerType, Operator};

use super::pair::Pair;
use super::{Shown, Walk};
use crate::hooks::exit_guard::{self, ExitGuard, Spans};
use crate::hooks::frame::Frame;
use crate::hooks::roles;
use crate::hooks::trampoline::Trampoline;
use crate::hooks::wrapper::Wrapper;
use crate::module::{FuncIdx, Module, id};
use crate::verify::failure::fail;
use wasmtrace_abi::buffer;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::BufferPlace;

impl Pair<'_, '_> {
    /// What a function behind the original's stands for: its body is just the hooks around a call of an import with its own
    /// parameters. And the index of the type of the block in it, if it has one.
    pub(super) fn trampoline(&self, trampoline: FuncIdx) -> Result<(Trampoline, Option<u32>)> {
        let range = self.new.body(trampoline);
        let body = &self.new.bytes()[range.clone()];
        let params = self.new.func_type(trampoline).params().len() as u32;
        let enter =
            self.code.enter(Frame { id: Some(ProbeId(trampoline.0)), local: params, catches: false, is_leaf: false });
        let opening = Walk::new(self.new, trampoline)?.at() + enter.len();
        let (block_type, index) = self.block_type(trampoline, opening).unwrap_or((BlockType::Empty, None));
        let mut operators = self.new.body_reader(trampoline).get_operators_reader()?;
        while !operators.eof() {
            // The one call that is no hook's says which import the trampoline is for; then all of it must be as trampolines are.
            if let Operator::Call { function_index: import } = operators.read()?
                && import < self.from
                && self.old.type_index(FuncIdx(import)) == self.new.type_index(trampoline)
            {
                let role = roles::role_of(&self.roles, FuncIdx(import));
                let of = |id, wrapper| Trampoline { params, import: FuncIdx(import), id, role, wrapper };
                let hooked = self.wrappers().map(|wrapper| of(Some(ProbeId(trampoline.0)), wrapper));
                let bare = role.is_some().then(|| of(None, Wrapper::Block));
                let mut all = hooked.chain(bare);
                if let Some(found) = all.find(|trampoline| trampoline.operators(&self.code, block_type) == body) {
                    return Ok((found, index.filter(|_| found.wrapper != Wrapper::Block)));
                }
            }
        }
        Err(fail(range.start, format!("function {} is neither the original's nor a trampoline", trampoline.0)))
    }

    /// What exits all open calls, if the module has that: the last functions, with what was appended for them, and nothing else.
    pub(super) fn guarding(&self) -> Result<Option<ExitGuard>> {
        let (old, new) = (self.old, self.new);
        let counts = |m: &Module<'_>| (m.table_count(), m.global_count());
        let closed_by = Spans::closed_by(&roles::roles(old));
        let globals = exit_guard::globals(closed_by.is_some());
        let more = (old.table_count() + exit_guard::TABLES, old.global_count() + globals);
        if self.set.has_buffer() || counts(new) != more {
            return Ok(None);
        }
        let exit = self.from + 1;
        let thunk = |func: FuncIdx| {
            let mut operators = new.body_reader(func).get_operators_reader().ok()?;
            match (operators.read().ok()?, operators.read().ok()?) {
                (Operator::I32Const { value }, Operator::Call { function_index }) if function_index == exit => {
                    Some(ProbeId(value as u32))
                }
                _ => None,
            }
        };
        let appended = (old.func_count() + self.by..new.func_count()).rev();
        let mut ids: Vec<ProbeId> = appended.map_while(|func| thunk(FuncIdx(func))).collect();
        ids.reverse();
        let at = new.section(id::CODE).map_or(8, |s| s.contents.end);
        let differs = || fail(at, "the functions that exit open calls are not what they should be");
        let own = ExitGuard::functions(0, closed_by.is_some()) as u32;
        let first = (new.func_count() - ids.len() as u32).checked_sub(own).ok_or_else(differs)?;
        if first < old.func_count() + self.by || !ids.is_sorted_by(|a, b| a < b) {
            return Err(differs());
        }
        let takes = |func: u32| (new.func_type(FuncIdx(func)).params(), new.func_type(FuncIdx(func)).results());
        const I32: &[wasmparser::ValType] = &[wasmparser::ValType::I32];
        let typed = |func: u32| match func - first {
            0 | 1 => takes(func) == (I32, &[]),
            exit_guard::LEAVE | exit_guard::CLOSE if closed_by.is_some() => takes(func) == (I32, &[]),
            exit_guard::CLOSING if closed_by.is_some() => takes(func) == (&[], I32),
            _ => takes(func) == (&[], &[]),
        };
        let plain = new.type_index(FuncIdx(first + 2));
        let (table, global) = (old.table_count(), old.global_count());
        let spans =
            closed_by.map(|close| Spans { close, answers: new.type_index(FuncIdx(first + exit_guard::CLOSING)) });
        let exit_guard = ExitGuard { first, host: self.from, table, global, plain, ids, spans };
        let stands = |(func, body): (u32, &Vec<u8>)| {
            // All of it behind its size: an end of it may be a body too, one that does nothing.
            let mut written = wasmparser::BinaryReader::new(body, 0);
            let whole = written.read_var_u32().map(|_| &body[written.original_position()..]);
            typed(func) && whole.is_ok_and(|whole| *whole == new.bytes()[new.body(FuncIdx(func))])
        };
        if !(first..).zip(&exit_guard.bodies()).all(stands) {
            return Err(differs());
        }
        let (segments, elements) = exit_guard.elements();
        for (section, entries, bytes) in [
            (id::TABLE, exit_guard::TABLES, exit_guard.tables()),
            (id::GLOBAL, globals, exit_guard.globals()),
            (id::ELEMENT, segments, elements),
        ] {
            self.appended(section, entries, &bytes)?;
        }
        Ok(Some(exit_guard))
    }

    /// What is appended to the types is types of the hooks' functions, and of blocks around bodies: plain ones, and no others.
    pub(super) fn types(&self, shown: &Shown) -> Result<()> {
        let at = self.new.section(id::TYPE).map_or(8, |s| s.contents.start);
        let behind = self.old.func_count() + self.by..self.new.func_count();
        let of_hooks = (self.from..self.from + self.by).chain(behind);
        let mut used: BTreeSet<u32> = of_hooks.map(|func| self.new.type_index(FuncIdx(func))).collect();
        used.extend(&shown.block_types);
        for (index, (ty, group)) in (0..).zip(self.new.types()).skip(self.old.types().len()) {
            let composite = &ty.composite_type;
            let CompositeInnerType::Func(func) = &composite.inner else {
                return Err(fail(at, format!("type {index} is none of a function")));
            };
            let plain = group == 1
                && ty.is_final
                && ty.supertype_idx.is_none()
                && !composite.shared
                && composite.describes_idx.is_none()
                && composite.descriptor_idx.is_none();
            // What was to stand around a body may have turned out to make it too large.
            let is_block_of =
                |of: &FuncIdx| func.params().is_empty() && func.results() == self.old.func_type(*of).results();
            if !plain || !used.contains(&index) && !shown.may_lack.iter().any(is_block_of) {
                return Err(fail(at, format!("type {index} was added, and no hook needs it")));
            }
        }
        Ok(())
    }

    /// What is appended to the imports is the hooks, of their types, and nothing else.
    pub(super) fn imports(&self) -> Result<()> {
        let hooks = self.set.imports();
        let at = self.new.section(id::IMPORT).map_or(8, |s| s.contents.start);
        // Not a table or a global either, that others would be counted behind.
        if self.new.import_count() != self.old.import_count() + hooks.len() {
            return Err(fail(at, "something else than the hooks is imported"));
        }
        let mut entries = Vec::new();
        for (func, hook) in (self.from..).zip(hooks) {
            hook.module.encode(&mut entries);
            hook.name.encode(&mut entries);
            entries.push(0x00); // a function
            self.new.type_index(FuncIdx(func)).encode(&mut entries);
            let ty = self.new.func_type(FuncIdx(func));
            let params: &[_] = if hook.takes_i32 { &[wasmparser::ValType::I32] } else { &[] };
            if ty.params() != params || !ty.results().is_empty() {
                return Err(fail(at, format!("import {func} is not the hook {}", hook.name)));
            }
        }
        // Nor a function that asks for more of the host than hooks do.
        let contents = self.new.section(id::IMPORT).map_or(&[][..], |s| &self.new.bytes()[s.contents.clone()]);
        match contents.ends_with(&entries) {
            true => Ok(()),
            false => Err(fail(at, "the hooks are imported in another way than hooks are")),
        }
    }

    /// What is appended to the memories and exports is the buffer, and nothing else.
    pub(super) fn buffer(&self) -> Result<Option<BufferPlace>> {
        let (memories, exports) = (self.new.memories(), self.new.all_exports());
        let (had, exported) = (self.old.memories().len(), self.old.all_exports());
        let more = self.set.has_buffer() as usize;
        let at = self.new.section(id::MEMORY).map_or(8, |s| s.contents.start);
        if memories.len() != had + more || exports.len() != exported.len() + more {
            return Err(fail(at, "memories or exports were added or lost"));
        }
        if !self.set.has_buffer() {
            return Ok(None);
        }
        let first_block = buffer::first_block(self.set, self.new.func_count());
        let pages = u64::from(buffer::pages(first_block));
        let (memory, export) = (memories[had], exports[exported.len()]);
        let fits = wasmparser::MemoryType {
            memory64: false,
            shared: false,
            initial: pages,
            maximum: Some(pages),
            page_size_log2: None,
        };
        if memory != fits {
            return Err(fail(at, "the memory behind the original's is not the hooks' buffer"));
        }
        // Its name is new: else the module would not be valid.
        if export.kind != wasmparser::ExternalKind::Memory || export.index as usize != had {
            return Err(fail(at, "the export behind the original's is not the hooks' buffer"));
        }
        Ok(Some(BufferPlace { export: export.name.to_owned(), first_block }))
    }
}
