//! The tests' own host: it calls exports of a module under wasmtime and writes down what can be seen of it from outside.
//!
//! It shares no code with `wasmtrace::runtime`: a second host of the same hooks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use wasmtime::{
    AnyRef, AsContextMut, Caller, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func, Instance, Linker, Module, Ref,
    Rooted, Store, StoreLimits, StoreLimitsBuilder, Tag, Trap as TrapCode, Val, ValType, WasmBacktrace,
};
use wasmtrace::hook::{BufferPlace, MANIFEST_SECTION, Manifest, OBSERVE, ProbeId, RECORDER};
use wasmtrace::module;
use wasmtrace::trace::{Ending, Event, EventKind, Trap};

/// Stack for a module without hooks; one with hooks gets four times as much, as `runtime` does it. Small, so that both
/// fit on the thread of a test.
const STACK: usize = 128 << 10;
const HOOKED_STACK: usize = 4 * STACK;

/// A broken compiler makes loops that do not end: after so many events they are cut off. (wasmtime's epochs would cut off
/// those without events too, but with them it reports other addresses for the first operator of a body.)
const MOST_EVENTS: usize = 4 << 20;

/// The most that a memory or the heap of a guest grows to; random modules make arrays of any length.
const MOST_MEMORY: usize = 16 << 20;

/// An engine with every proposal on that wasmtime has. NaNs are made canonical, so that results can be compared by bits.
pub struct Host {
    engine: Engine,
    /// In a module with the hook set `threshold`: whether calls that make no others are counted only.
    counts_only: bool,
}

/// A module that is ready to be instantiated.
pub struct Compiled {
    module: Module,
    /// Where it records, if it does.
    buffer: Option<BufferPlace>,
}

/// One instance, and all that it has done so far.
pub struct Session {
    store: Store<Guest>,
    buffer: Option<BufferPlace>,
    /// There is none if the start function did not return.
    instance: Option<Instance>,
    /// How instantiation ended.
    pub start: Call,
}

/// What a store knows of its guest.
struct Guest {
    events: Vec<Event>,
    limits: StoreLimits,
    counts_only: bool,
    /// The buffer's memory, known from the first event on.
    buffer: Option<wasmtime::Memory>,
    /// The tag of what `env.throw` throws.
    thrown: Option<Tag>,
}

/// What one call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Of a trap: the code; neither message nor frames.
    pub ending: Ending,
    /// The values that were returned, floats by their bits.
    pub returned: Vec<String>,
    /// The WebAssembly frames of an end that was no return, innermost first.
    pub frames: Vec<Frame>,
}

/// One frame of a backtrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub func: u32,
    /// Where the instruction stands in the file. The engine knows none where a function begins with running out of stack.
    pub offset: Option<usize>,
}

/// The error of `proc_exit`.
#[derive(Debug)]
struct Exit(i32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit with code {}", self.0)
    }
}

impl std::error::Error for Exit {}

impl Host {
    /// For modules without hooks.
    pub fn plain() -> Host {
        Host::new(STACK)
    }

    /// For modules with hooks.
    pub fn hooked() -> Host {
        Host::new(HOOKED_STACK)
    }

    /// For modules that may count calls instead of recording them.
    pub fn counting() -> Host {
        Host { counts_only: true, ..Host::hooked() }
    }

    fn new(stack: usize) -> Host {
        let mut config = wasmtime::Config::new();
        config
            .max_wasm_stack(stack)
            .cranelift_nan_canonicalization(true)
            .wasm_backtrace_max_frames(NonZeroUsize::new(1 << 20))
            .wasm_tail_call(true)
            .wasm_custom_page_sizes(true)
            .wasm_threads(true)
            .shared_memory(true)
            .wasm_function_references(true)
            .wasm_wide_arithmetic(true)
            .wasm_gc(true)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            .wasm_multi_memory(true)
            .wasm_memory64(true)
            .wasm_extended_const(true)
            .wasm_exceptions(true)
            .wasm_branch_hinting(true);
        Host { engine: Engine::new(&config).unwrap(), counts_only: false }
    }

    pub fn compile(&self, wasm: &[u8]) -> wasmtime::Result<Compiled> {
        let module = Module::from_binary(&self.engine, wasm)?;
        let parsed = module::parse(wasm).expect("valid");
        let manifest = parsed.custom(MANIFEST_SECTION);
        let manifest = manifest.map(|s| Manifest::decode(&wasm[s.data.clone()], s.data.start).unwrap());
        Ok(Compiled { module, buffer: manifest.and_then(|manifest| manifest.buffer) })
    }

    /// Instantiates the module with the imports that shapes may have.
    pub fn open(&self, compiled: &Compiled) -> wasmtime::Result<Session> {
        let (linker, store) = self.linker(compiled)?;
        Session::open(compiled, &linker, store)
    }

    /// Instantiates the module; imports that this host does not know do nothing and are zero or null.
    pub fn open_with_defaults(&self, compiled: &Compiled) -> wasmtime::Result<Session> {
        let (mut linker, mut store) = self.linker(compiled)?;
        linker.define_unknown_imports_as_default_values(&mut store, &compiled.module)?;
        Session::open(compiled, &linker, store)
    }

    fn store(&self) -> Store<Guest> {
        let limits = StoreLimitsBuilder::new().memory_size(MOST_MEMORY).build();
        let counts_only = self.counts_only;
        let guest = Guest { events: Vec::new(), limits, counts_only, buffer: None, thrown: None };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limits);
        store
    }

    fn linker(&self, compiled: &Compiled) -> wasmtime::Result<(Linker<Guest>, Store<Guest>)> {
        let mut linker: Linker<Guest> = Linker::new(&self.engine);
        let mut store = self.store();
        if let Some(place) = &compiled.buffer {
            let flush = |place: BufferPlace| {
                move |caller: &mut Caller<'_, Guest>| {
                    let memory =
                        caller.get_export(&place.export).and_then(Extern::into_memory).expect("it is exported");
                    caller.data_mut().buffer = Some(memory);
                    taken(caller, &place)
                }
            };
            for import in ["flush", "flush-counted"] {
                let flush = flush(place.clone());
                linker.func_wrap(RECORDER, import, move |mut caller: Caller<'_, Guest>| flush(&mut caller))?;
            }
            let flush = flush(place.clone());
            linker.func_wrap(RECORDER, "memory-grow", move |mut caller: Caller<'_, Guest>, pages: u32| {
                flush(&mut caller)?;
                let events = &mut caller.data_mut().events;
                events.push(Event { at: events.len() as u64, kind: EventKind::MemoryGrow(pages) });
                Ok(())
            })?;
        }
        for hook in ["enter", "exit", "memory-grow"] {
            linker.func_wrap(OBSERVE, hook, move |mut caller: Caller<'_, Guest>, id: u32| {
                let kind = match hook {
                    "enter" => EventKind::Enter(ProbeId(id)),
                    "exit" => EventKind::Exit(ProbeId(id)),
                    _ => EventKind::MemoryGrow(id), // that is, pages
                };
                let events = &mut caller.data_mut().events;
                events.push(Event { at: events.len() as u64, kind }); // the clock of a test ticks once an event
                if events.len() < MOST_EVENTS { Ok(()) } else { Err(TrapCode::Interrupt.into()) }
            })?;
        }
        linker.func_wrap("env", "ping", |n: i32| n.wrapping_add(1))?;
        linker.func_wrap("env", "call_table", |mut caller: Caller<'_, Guest>, at: u32| {
            let table = caller.get_export("table").and_then(Extern::into_table).expect("a table is exported");
            match table.get(&mut caller, u64::from(at)) {
                Some(Ref::Func(Some(func))) => func.call(&mut caller, &[], &mut []),
                _ => panic!("element {at} is no function"),
            }
        })?;
        let exception = ExnType::new(&self.engine, [ValType::I32])?;
        let tag = Tag::new(&mut store, &exception.tag_type())?;
        store.data_mut().thrown = Some(tag);
        linker.define(&store, "env", "thrown", tag)?;
        linker.func_wrap("env", "throw", move |mut caller: Caller<'_, Guest>, n: i32| -> wasmtime::Result<()> {
            let tag = caller.data().thrown.expect("set above");
            let allocator = ExnRefPre::new(&mut caller, exception.clone());
            let thrown = ExnRef::new(&mut caller, &allocator, &tag, &[Val::I32(n)])?;
            Ok(caller.as_context_mut().throw(thrown)?)
        })?;
        linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(Exit(code)))
        })?;
        Ok((linker, store))
    }
}

impl Session {
    /// The outer error is the engine's refusal; how the start function ended is in the session.
    fn open(compiled: &Compiled, linker: &Linker<Guest>, mut store: Store<Guest>) -> wasmtime::Result<Session> {
        let pre = linker.instantiate_pre(&compiled.module)?;
        let (instance, start) = match pre.instantiate(&mut store) {
            Ok(instance) => (Some(instance), Call::returned(Vec::new())),
            Err(e) => (None, Call::ended(e)?),
        };
        let mut session = Session { store, buffer: compiled.buffer.clone(), instance, start };
        session.take();
        Ok(session)
    }

    /// Takes what is in the buffer.
    fn take(&mut self) {
        if let Some(place) = &self.buffer {
            // Too many events are noticed by whoever counts them.
            let _ = taken(&mut self.store, place);
        }
    }

    /// How many calls of a function were counted only.
    pub fn counted(&self, id: ProbeId) -> u32 {
        let Some(memory) = self.store.data().buffer else { return 0 };
        word(memory.data(&self.store), 128 + 4 * id.0)
    }

    /// Calls an exported function with zeroes and nulls. `None` if it takes what has no default.
    pub fn call(&mut self, export: &str) -> Option<Call> {
        let Some(instance) = self.instance else { return Some(self.start.clone()) };
        let func = instance.get_func(&mut self.store, export).unwrap_or_else(|| panic!("`{export}` is exported"));
        let ty = func.ty(&self.store);
        let params: Vec<Val> = ty.params().map(|ty| Val::default_for_ty(&ty)).collect::<Option<_>>()?;
        let mut results = vec![Val::I32(0); ty.results().len()];
        let ended = func.call(&mut self.store, &params, &mut results);
        self.take();
        Some(match ended {
            Ok(()) => Call::returned(results.iter().map(|value| show(&mut self.store, value)).collect()),
            Err(e) => Call::ended(e).expect("a call ends in one of the guest's ways"),
        })
    }

    /// What the module exports besides functions, one line each.
    pub fn state(&mut self) -> Vec<String> {
        let Some(instance) = self.instance else { return Vec::new() };
        let exports: Vec<(String, Extern)> =
            instance.exports(&mut self.store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
        let buffer = self.buffer.as_ref().map(|place| place.export.clone());
        let exports = exports.into_iter().filter(|(name, _)| buffer.as_ref() != Some(name));
        exports.filter_map(|(name, item)| Some(format!("{name}: {}", self.item(&item)?))).collect()
    }

    fn item(&mut self, item: &Extern) -> Option<String> {
        let store = &mut self.store;
        Some(match item {
            Extern::Global(global) => {
                let value = global.get(&mut *store);
                show(store, &value)
            }
            Extern::Memory(memory) => {
                let mut hasher = DefaultHasher::new();
                memory.data(&*store).hash(&mut hasher);
                format!("memory of {} bytes, {:016x}", memory.data_size(&*store), hasher.finish())
            }
            // Reading what other threads may be writing would need unsafe code.
            Extern::SharedMemory(memory) => format!("shared memory of {} pages", memory.size()),
            Extern::Table(table) => {
                let size = table.size(&*store);
                let elements = (0..size.min(1000)).filter_map(|at| table.get(&mut *store, at));
                let elements: Vec<Val> = elements.map(Val::from).collect();
                let elements: Vec<String> = elements.iter().map(|element| show(store, element)).collect();
                format!("table of {size}: {elements:?}")
            }
            _ => return None,
        })
    }

    /// What the hooks have seen so far.
    pub fn events(&self) -> &[Event] {
        &self.store.data().events
    }
}

/// Takes the events in a guest's buffer, and makes room for as many as there is room for at all.
fn taken(mut store: impl AsContextMut<Data = Guest>, place: &BufferPlace) -> wasmtime::Result<()> {
    let Some(memory) = store.as_context().data().buffer else { return Ok(()) };
    let (data, guest) = memory.data_and_store_mut(&mut store);
    let first = place.first_block;
    for event in (first..word(data, 0)).step_by(8) {
        let id = ProbeId(word(data, event) >> 2);
        let kind = match word(data, event) & 3 {
            0 => EventKind::Enter(id),
            1 => EventKind::Exit(id),
            2 => EventKind::Unwound(id),
            other => panic!("an event of the kind {other}"),
        };
        guest.events.push(Event { at: guest.events.len() as u64, kind });
    }
    let end = data.len() as u32;
    let threshold = if guest.counts_only { u32::MAX } else { 0 };
    for (at, word) in [(0, first), (4, end), (68, threshold)] {
        data[at..][..4].copy_from_slice(&word.to_le_bytes());
    }
    if guest.events.len() < MOST_EVENTS { Ok(()) } else { Err(TrapCode::Interrupt.into()) }
}

fn word(memory: &[u8], at: u32) -> u32 {
    u32::from_le_bytes(memory[at as usize..][..4].try_into().unwrap())
}

impl Call {
    fn returned(returned: Vec<String>) -> Call {
        Call { ending: Ending::Returned, returned, frames: Vec::new() }
    }

    /// What an error says of the guest; an error that is none of the guest's comes back.
    fn ended(e: wasmtime::Error) -> wasmtime::Result<Call> {
        let frames = e.downcast_ref::<WasmBacktrace>().map_or_else(Vec::new, |b| {
            let frame = |f: &wasmtime::FrameInfo| Frame { func: f.func_index(), offset: f.module_offset() };
            b.frames().iter().map(frame).collect()
        });
        let trapped = |code: String| {
            Ending::Trapped(Trap { code, message: String::new(), frames: frames.iter().map(|f| f.func).collect() })
        };
        let ending = if let Some(Exit(code)) = e.downcast_ref() {
            Ending::Exited(*code)
        } else if let Some(code) = e.downcast_ref::<TrapCode>() {
            trapped(format!("{code:?}"))
        } else if e.is::<wasmtime::ThrownException>() {
            trapped("exception".to_owned())
        } else if !frames.is_empty() {
            trapped(e.root_cause().to_string())
        } else {
            return Err(e);
        };
        Ok(Call { ending, returned: Vec::new(), frames })
    }

    /// Whether the engine's stack ran out: the one end that hooks may bring about by themselves.
    pub fn out_of_stack(&self) -> bool {
        matches!(&self.ending, Ending::Trapped(trap) if trap.code == format!("{:?}", TrapCode::StackOverflow))
    }
}

/// A value by its bits; a reference by as much of it as two modules can have in common.
fn show(store: &mut Store<Guest>, value: &Val) -> String {
    match value {
        Val::F32(bits) => format!("f32 {bits:#010x}"),
        Val::F64(bits) => format!("f64 {bits:#018x}"),
        Val::V128(bits) => format!("v128 {:#034x}", bits.as_u128()),
        Val::FuncRef(Some(func)) => signature(store, func),
        Val::AnyRef(Some(any)) => show_any(store, any),
        Val::ExternRef(Some(_)) => "an external reference".to_owned(),
        Val::ExnRef(Some(_)) => "an exception".to_owned(),
        number_or_null => format!("{number_or_null:?}"),
    }
}

fn signature(store: &Store<Guest>, func: &Func) -> String {
    let ty = func.ty(store);
    // Types of the module's own have other numbers in another module.
    let one = |ty: ValType| if ty.is_ref() { "ref".to_owned() } else { ty.to_string() };
    format!(
        "a function {:?} -> {:?}",
        ty.params().map(one).collect::<Vec<_>>(),
        ty.results().map(one).collect::<Vec<_>>()
    )
}

fn show_any(store: &mut Store<Guest>, any: &Rooted<AnyRef>) -> String {
    if let Some(i31) = any.as_i31(&*store).unwrap() {
        return format!("{i31:?}");
    }
    if let Some(array) = any.as_array(&*store).unwrap() {
        return format!("an array of {}", array.len(&*store).unwrap());
    }
    match any.as_struct(&*store).unwrap() {
        Some(fields) => {
            let fields: Vec<Val> = fields.fields(&mut *store).unwrap().collect();
            // Not into references, which may lead back here.
            let numbers = fields.iter().filter(|field| field.ref_().is_none());
            format!("a struct of {} with {numbers:?}", fields.len(), numbers = numbers.collect::<Vec<_>>())
        }
        None => "a reference".to_owned(),
    }
}
