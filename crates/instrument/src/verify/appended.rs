//! Checks what was added after the original's functions, imports, memories and exports.

use std::collections::BTreeSet;

use wasm_encoder::{BlockType, Encode};
use wasmparser::{CompositeInnerType, Operator};

use super::pair::Pair;
use super::{Shown, Walk};
use crate::hooks::exit_guard::{self, ExitGuard, Spans};
use crate::hooks::frame::{Frame, HookPair};
use crate::hooks::roles::{self, Role};
use crate::hooks::trampoline::Trampoline;
use crate::hooks::wrapper::Wrapper;
use crate::module::{FuncIdx, Module, id};
use crate::verify::failure::fail;
use wasmtrace_abi::buffer;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_abi::manifest::BufferPlace;

impl Pair<'_, '_> {
    /// Checks that an added function is a trampoline: its body is a call of an import with its own parameters, and
    /// hooks around it. Returns the trampoline, and the index of its block type if it has one.
    pub(super) fn trampoline(&self, trampoline: FuncIdx) -> Result<(Trampoline, Option<u32>)> {
        let range = self.new.body(trampoline);
        let body = &self.new.bytes()[range.clone()];
        let params = self.new.func_type(trampoline).params().len() as u32;
        let enter = self.code.enter(Frame {
            id: Some(ProbeId(trampoline.0)),
            local: params,
            catches: false,
            is_leaf: false,
            pair: HookPair::Plain,
        });
        let opening = Walk::new(self.new, trampoline)?.at() + enter.len();
        let (block_type, index) = self.block_type(trampoline, opening).unwrap_or((BlockType::Empty, None));
        let mut operators = self.new.body_reader(trampoline).get_operators_reader()?;
        while !operators.eof() {
            // The only call that is not of a hook tells which import the trampoline wraps. The whole body must then
            // match.
            if let Operator::Call { function_index: import } = operators.read()?
                && import < self.from
                && self.old.type_index(FuncIdx(import)) == self.new.type_index(trampoline)
            {
                let import = FuncIdx(import);
                // In a component, the module does not say which imports leave the instance: both forms are known.
                let roles = match self.set {
                    HookSet::Component => vec![None, roles::in_component(self.old, import)],
                    _ => vec![roles::role_of(&self.roles, import)],
                };
                let of = |id, role, wrapper| Trampoline { params, import, id, role, wrapper };
                let id = Some(ProbeId(trampoline.0));
                let of_role = |role: Option<Role>| {
                    let bare = role.is_some().then(|| of(None, role, Wrapper::Block));
                    self.wrappers().map(move |wrapper| of(id, role, wrapper)).chain(bare)
                };
                let mut all = roles.into_iter().flat_map(of_role);
                if let Some(found) = all.find(|trampoline| trampoline.operators(&self.code, block_type) == body) {
                    return Ok((found, index.filter(|_| found.wrapper != Wrapper::Block)));
                }
            }
        }
        Err(fail(range.start, format!("function {} is neither in the original nor a trampoline", trampoline.0)))
    }

    /// Finds the exit guard, if the module has one, and checks it. Its functions are the last functions. Its tables,
    /// globals and segments must match too.
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
        let differs = || fail(at, "the functions of the exit guard are not as expected");
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
            // The whole body after its size field must match: a suffix of a body can be a valid body that does
            // nothing.
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

    /// Checks the added types. Each must be a plain type that a function of the hooks or the wrapper of a body uses.
    pub(super) fn types(&self, shown: &Shown) -> Result<()> {
        let at = self.new.section(id::TYPE).map_or(8, |s| s.contents.start);
        let behind = self.old.func_count() + self.by..self.new.func_count();
        let injected_funcs = (self.from..self.from + self.by).chain(behind);
        let mut used: BTreeSet<u32> = injected_funcs.map(|func| self.new.type_index(FuncIdx(func))).collect();
        used.extend(&shown.block_types);
        for (index, (ty, group)) in (0..).zip(self.new.types()).skip(self.old.types().len()) {
            let composite = &ty.composite_type;
            let CompositeInnerType::Func(func) = &composite.inner else {
                return Err(fail(at, format!("type {index} is not a function type")));
            };
            let plain = group == 1
                && ty.is_final
                && ty.supertype_idx.is_none()
                && !composite.shared
                && composite.describes_idx.is_none()
                && composite.descriptor_idx.is_none();
            // If a body became too large with its wrapper, the type of that wrapper remains unused.
            let is_block_of =
                |of: &FuncIdx| func.params().is_empty() && func.results() == self.old.func_type(*of).results();
            if !plain || !used.contains(&index) && !shown.may_lack.iter().any(is_block_of) {
                return Err(fail(at, format!("type {index} was added, but no hook needs it")));
            }
        }
        Ok(())
    }

    /// Checks that the added imports are the hooks, with their types.
    pub(super) fn imports(&self) -> Result<()> {
        let hooks = self.set.imports();
        let at = self.new.section(id::IMPORT).map_or(8, |s| s.contents.start);
        // Other kinds of imports are not allowed either: they would move the indices of tables or globals.
        if self.new.import_count() != self.old.import_count() + hooks.len() {
            return Err(fail(at, "something other than the hooks is imported"));
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
                return Err(fail(at, format!("import {func} does not have the type of the hook {}", hook.name)));
            }
        }
        // Compares bytes: the import of a hook must not use another encoding of its type.
        let contents = self.new.section(id::IMPORT).map_or(&[][..], |s| &self.new.bytes()[s.contents.clone()]);
        match contents.ends_with(&entries) {
            true => Ok(()),
            false => Err(fail(at, "the import entries of the hooks are not as expected")),
        }
    }

    /// Checks that the added memory and the added export are the buffer.
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
            return Err(fail(at, "the added memory is not the buffer of the hooks"));
        }
        // The name of the export is new, otherwise the module would not be valid.
        if export.kind != wasmparser::ExternalKind::Memory || export.index as usize != had {
            return Err(fail(at, "the added export is not the buffer of the hooks"));
        }
        Ok(Some(BufferPlace { export: export.name.to_owned(), first_block }))
    }
}
