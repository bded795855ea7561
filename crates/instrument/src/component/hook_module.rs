//! The hook module of a component, and the module of its buffer.
//!
//! The hook module has seven functions for each hooked instance. In the sets `buffer` and `wasi`, they write event words to
//! the buffer (see [`wasmtrace_abi::component`]):
//!
//! ```wat
//! (func $write (param $word i32) (local $s i32)           ;; inlined into `enter` and `exit`
//!   (if (i32.ge_u (local.tee $s (load CURSOR)) (load LIMIT)) (then (local.set $s (call $make_room (local.get $s)))))
//!   (store (local.get $s) (local.get $word))
//!   (store CURSOR (i32.add (local.get $s) (i32.const 4))))
//! (func $enter (param $id i32) (write ((id + first_probe) << 2 | ENTER)))
//! (func $exit  (param $id i32) (write ((id + first_probe) << 2 | EXIT)))
//! (func $quiet-enter (param $id i32)
//!   (store QUIET (i32.add (load QUIET) (i32.const 1)))
//!   (if (i32.ne (local.get $id) NOBODY) (then (call $enter (local.get $id)))))
//! (func $quiet-exit …)                                    ;; in the opposite order
//! (func $lifted-enter (param $id i32)
//!   (call $flush ENTER)
//!   (if (i32.ne (local.get $id) NOBODY) (then (call $enter (local.get $id)))))
//! (func $lifted-exit (param $id i32) … (call $flush RETURN))
//! ```
//!
//! `make_room` returns the offset of the next event. It calls the host unless a call is quiet: then it goes on in the
//! block, in the spill area, or counts the event as lost. `flush` hands over all events to a host that does not read the
//! buffer by itself, unless a call is quiet.
//!
//! In the set `observe`, `enter` and `exit` call the host with the id, unless a call is quiet. `flush` does nothing.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemorySection, MemoryType, Module, NameMap,
    NameSection, TypeSection, ValType,
};
use wasmtrace_abi::buffer::{BLOCK, CURSOR, Kind, LIMIT, NOBODY};
use wasmtrace_abi::component::{ATTACHED, END, FIRST_BLOCK, LOST, OWNED, PAGES, QUIET, SIZE, SPILL, SPILLED, cause};
use wasmtrace_abi::hook::HookSet;

/// The functions of the hook module for one instance, as they are imported by hooked modules.
pub(super) const FUNCTIONS: [&str; 7] =
    ["enter", "exit", "quiet-enter", "quiet-exit", "lifted-enter", "lifted-exit", "flush"];

/// The names of the modules that a group adds.
pub(super) const MODULES: [&str; 2] = ["wasmtrace:buffer", "wasmtrace:hooks"];

/// The name of the buffer's memory within the component.
pub(super) const BUFFER: &str = "buffer";
/// The name by which the hook module imports the functions of the host.
pub(super) const HOST: &str = "host";

/// Number of blocks that a host which does not set OWNED gets at once. It loses at most as many events in a trap.
const BLOCKS_AT_ONCE: u32 = 8;

/// The same for a recorder within the component. It measures the time of each block.
const BLOCKS_AT_ONCE_INSIDE: u32 = 1;

/// Most lost events that are told: the number fits in a word of [`Kind::Caught`].
const MOST_TOLD: i32 = (1 << 29) - 1;

/// Size of an event in bytes.
const EVENT: i32 = 4;

fn memory_type() -> MemoryType {
    let pages = u64::from(PAGES);
    MemoryType { minimum: pages, maximum: Some(pages), memory64: false, shared: false, page_size_log2: None }
}

/// The module of the buffer: a memory in which CURSOR and END are set. A recorder within the component is not asked to read
/// the buffer by itself, so ATTACHED is set too.
pub(super) fn buffer_module(hooks: HookSet) -> Vec<u8> {
    let mut memories = MemorySection::new();
    memories.memory(memory_type());
    let mut exports = ExportSection::new();
    exports.export(BUFFER, ExportKind::Memory, 0);
    let mut data = DataSection::new();
    let attached = (hooks == HookSet::Wasi).then_some((ATTACHED, 1));
    for (offset, value) in [(CURSOR, FIRST_BLOCK), (END, FIRST_BLOCK + BLOCK)].into_iter().chain(attached) {
        data.active(0, &ConstExpr::i32_const(offset as i32), value.to_le_bytes());
    }
    let mut names = NameSection::new();
    names.module(MODULES[0]);
    Module::new().section(&memories).section(&exports).section(&data).section(&names).clone().finish()
}

/// The types of functions in the hook module.
#[repr(u32)]
enum Type {
    TakesOne = 0,
    TakesTwo = 1,
    TakesThree = 2,
    MakesRoom = 3,
}

/// The functions of the host, by index.
struct Host;

impl Host {
    /// Of the sets with a buffer.
    const ATTACH: u32 = 0;
    const FLUSH: u32 = 1;
}

/// Indices of functions in the sets with a buffer.
const HAND_OVER: u32 = 2;
const MAKE_ROOM: u32 = 3;

/// The name of a function of the hook module, for the hooked instance at that position.
pub(super) fn export_name(position: usize, function: &str) -> String {
    format!("{position}:{function}")
}

/// The functions that the hook module imports from the host.
pub(super) fn host_functions(hooks: HookSet) -> [&'static str; 2] {
    if hooks == HookSet::Observe { ["enter", "exit"] } else { ["attach", "flush"] }
}

/// The hook module for a hook set, with functions for instances whose ids begin at `first_probes`.
pub(super) fn hook_module(hooks: HookSet, first_probes: &[u32]) -> Vec<u8> {
    let has_buffer = hooks != HookSet::Observe;
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::I32; 2], []);
    types.ty().function([ValType::I32; 3], []);
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut imports = ImportSection::new();
    let mut globals = GlobalSection::new();
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    let mut names = NameMap::new();
    let host_types = if has_buffer { [Type::TakesTwo, Type::TakesThree] } else { [Type::TakesOne, Type::TakesOne] };
    for ((func, name), ty) in (0..).zip(host_functions(hooks)).zip(host_types) {
        imports.import(HOST, name, EntityType::Function(ty as u32));
        names.append(func, &format!("wasmtrace.host.{name}"));
    }
    let mut next = 2;
    let mut add = |ty: Type, name: &str, body: &Function| {
        functions.function(ty as u32);
        code.function(body);
        names.append(next, &format!("wasmtrace.{name}"));
        next += 1;
        next - 1
    };
    let flush = if has_buffer {
        imports.import(BUFFER, BUFFER, memory_type());
        let blocks = if hooks == HookSet::Wasi { BLOCKS_AT_ONCE_INSIDE } else { BLOCKS_AT_ONCE };
        add(Type::TakesTwo, "hand-over", &hand_over(blocks));
        add(Type::MakesRoom, "make-room", &make_room());
        add(Type::TakesOne, "flush", &flush())
    } else {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(0));
        add(Type::TakesOne, "flush", &function(0, |_| {}))
    };
    let mut exports = ExportSection::new();
    for (position, first_probe) in first_probes.iter().enumerate() {
        let mut add = |name: &str, body: &Function| {
            let name = export_name(position, name);
            let func = add(Type::TakesOne, &name, body);
            exports.export(&name, ExportKind::Func, func);
            func
        };
        let [enter, exit] = [("enter", Kind::Enter, 0), ("exit", Kind::Exit, 1)].map(|(name, kind, host)| {
            let body = if has_buffer { write(*first_probe, kind) } else { call_host(*first_probe, host) };
            add(name, &body)
        });
        add("quiet-enter", &quiet_enter(enter, has_buffer));
        add("quiet-exit", &quiet_exit(exit, has_buffer));
        add("lifted-enter", &lifted_enter(enter, flush));
        add("lifted-exit", &lifted_exit(exit, flush));
        exports.export(&export_name(position, "flush"), ExportKind::Func, flush);
    }
    let mut name_section = NameSection::new();
    name_section.module(MODULES[1]);
    name_section.functions(&names);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    if !has_buffer {
        module.section(&globals);
    }
    module.section(&exports).section(&code).section(&name_section);
    module.finish()
}

fn function(locals: u32, write: impl FnOnce(&mut InstructionSink<'_>)) -> Function {
    let mut function = Function::new((locals > 0).then_some((locals, ValType::I32)));
    let mut code = function.instructions();
    write(&mut code);
    code.end();
    function
}

fn at(offset: u32) -> MemArg {
    MemArg { offset: offset.into(), align: 2, memory_index: 0 }
}

/// Loads a word at the start of the buffer.
fn load(offset: u32, code: &mut InstructionSink<'_>) {
    code.i32_const(0).i32_load(at(offset));
}

/// Stores a constant at the start of the buffer.
fn store(offset: u32, value: u32, code: &mut InstructionSink<'_>) {
    code.i32_const(0).i32_const(value as i32).i32_store(at(offset));
}

/// `enter` or `exit` of the set `buffer`.
fn write(first_probe: u32, kind: Kind) -> Function {
    let (id, s) = (0, 1);
    function(1, |code| {
        load(CURSOR, code);
        code.local_tee(s);
        load(LIMIT, code);
        code.i32_ge_u().if_(BlockType::Empty).local_get(s).call(MAKE_ROOM).local_set(s).end();
        code.local_get(s).local_get(id).i32_const(2).i32_shl();
        code.i32_const((first_probe << 2 | kind as u32) as i32).i32_add().i32_store(at(0));
        code.i32_const(0).local_get(s).i32_const(EVENT).i32_add().i32_store(at(CURSOR));
    })
}

/// `enter` or `exit` of the set `observe`. The global counts quiet calls.
fn call_host(first_probe: u32, host: u32) -> Function {
    function(0, |code| {
        code.global_get(0).i32_eqz().if_(BlockType::Empty);
        code.local_get(0).i32_const(first_probe as i32).i32_add().call(host).end();
    })
}

/// Adds to the number of quiet calls.
fn count_quiet(by: i32, has_buffer: bool, code: &mut InstructionSink<'_>) {
    match has_buffer {
        true => {
            code.i32_const(0);
            load(QUIET, code);
            code.i32_const(by).i32_add().i32_store(at(QUIET));
        }
        false => _ = code.global_get(0).i32_const(by).i32_add().global_set(0),
    }
}

/// Calls `enter` or `exit`, if the function is hooked.
fn report(func: u32, code: &mut InstructionSink<'_>) {
    code.local_get(0).i32_const(NOBODY.0 as i32).i32_ne().if_(BlockType::Empty).local_get(0).call(func).end();
}

/// The time until now is not the guest's. Events of a `post-return` come before those of this call.
fn lifted_enter(enter: u32, flush: u32) -> Function {
    function(0, |code| {
        code.i32_const(cause::ENTER).call(flush);
        report(enter, code);
    })
}

fn lifted_exit(exit: u32, flush: u32) -> Function {
    function(0, |code| {
        report(exit, code);
        code.i32_const(cause::RETURN).call(flush);
    })
}

fn quiet_enter(enter: u32, has_buffer: bool) -> Function {
    function(0, |code| {
        count_quiet(1, has_buffer, code);
        report(enter, code);
    })
}

fn quiet_exit(exit: u32, has_buffer: bool) -> Function {
    function(0, |code| {
        report(exit, code);
        count_quiet(-1, has_buffer, code);
        if has_buffer {
            // The next event that may call the host does so, and the spill area is free again.
            load(SPILLED, code);
            code.if_(BlockType::Empty);
            store(LIMIT, 0, code);
            code.end();
        }
    })
}

/// The offset in the spill area from which on events are lost. One event behind it is overwritten again and again.
const SPILL_END: u32 = SIZE - EVENT as u32;

/// Returns where the event goes that found CURSOR (`s`) at LIMIT or later.
fn make_room() -> Function {
    let s = 0;
    function(0, |code| {
        load(QUIET, code);
        code.if_(BlockType::Empty);
        {
            // There is room before END.
            code.local_get(s);
            load(END, code);
            code.i32_lt_u().if_(BlockType::Empty).local_get(s).return_().end();
            // The block is full: go on in the spill area.
            load(SPILLED, code);
            code.i32_eqz().if_(BlockType::Empty);
            code.i32_const(0).local_get(s).i32_store(at(SPILLED));
            store(END, SPILL_END, code);
            store(LIMIT, SPILL_END, code);
            code.i32_const(SPILL as i32).return_().end();
            // The spill area is full too.
            code.i32_const(0);
            load(LOST, code);
            code.i32_const(1).i32_add().i32_store(at(LOST));
            code.i32_const(SPILL_END as i32).return_();
        }
        code.end();
        load(ATTACHED, code);
        code.i32_eqz().if_(BlockType::Empty);
        attach(code);
        code.end();
        load(OWNED, code);
        code.if_(BlockType::Empty);
        // The host moves CURSOR.
        code.i32_const(0).i32_const(EVENT).i32_const(cause::FULL).call(Host::FLUSH);
        load(CURSOR, code);
        code.return_().end();
        code.local_get(s).i32_const(cause::FULL).call(HAND_OVER);
        code.i32_const(FIRST_BLOCK as i32);
    })
}

fn attach(code: &mut InstructionSink<'_>) {
    store(ATTACHED, 1, code);
    code.i32_const(0).i32_const(SIZE as i32).call(Host::ATTACH);
}

/// `flush`: hands over the events, unless the host reads them by itself. The host also learns of a buffer that it does not
/// know yet: there may be events of quiet calls in it.
fn flush() -> Function {
    let cause = 0;
    function(0, |code| {
        load(QUIET, code);
        code.if_(BlockType::Empty).return_().end();
        load(ATTACHED, code);
        code.i32_eqz().if_(BlockType::Empty);
        attach(code);
        load(OWNED, code);
        code.if_(BlockType::Empty);
        code.i32_const(0).i32_const(EVENT).local_get(cause).call(Host::FLUSH).end().end();
        load(OWNED, code);
        code.if_(BlockType::Empty).return_().end();
        load(CURSOR, code);
        code.local_get(cause).call(HAND_OVER);
    })
}

/// Hands over the events before `s`, and begins with the first block again.
fn hand_over(blocks: u32) -> Function {
    let (s, cause) = (0, 1);
    function(0, |code| {
        load(SPILLED, code);
        code.if_(BlockType::Empty);
        code.i32_const(FIRST_BLOCK as i32);
        load(SPILLED, code);
        code.i32_const(FIRST_BLOCK as i32).i32_sub().i32_const(cause::FULL).call(Host::FLUSH);
        load(LOST, code);
        code.if_(BlockType::Empty);
        // After a lost event, CURSOR is behind the place of lost events. Their number goes there.
        code.i32_const(0);
        load(LOST, code);
        code.i32_const(MOST_TOLD);
        load(LOST, code);
        code.i32_const(MOST_TOLD).i32_lt_u().select();
        code.i32_const(2).i32_shl().i32_const(Kind::Caught as i32).i32_or().i32_store(at(SPILL_END));
        store(LOST, 0, code);
        code.end();
        code.i32_const(SPILL as i32).local_get(s).i32_const(SPILL as i32).i32_sub();
        code.local_get(cause).call(Host::FLUSH);
        store(SPILLED, 0, code);
        code.else_();
        code.i32_const(FIRST_BLOCK as i32).local_get(s).i32_const(FIRST_BLOCK as i32).i32_sub();
        code.local_get(cause).call(Host::FLUSH).end();
        let end = FIRST_BLOCK + blocks * BLOCK;
        store(END, end, code);
        store(LIMIT, end, code);
        store(CURSOR, FIRST_BLOCK, code);
    })
}
