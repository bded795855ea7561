//! A host for tests: it calls exports of a module under wasmtime and notes everything that is visible from outside.
//!
//! It shares no code with `wasmtrace::runtime`: it is an independent second host for the same hooks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use wasmtime::{
    AnyRef, AsContextMut, Caller, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func, ImportType, Instance, Linker,
    Module, OptLevel, Ref, Rooted, Store, StoreLimits, StoreLimitsBuilder, Tag, Trap as TrapCode, Val, ValType,
    WasmBacktrace,
};
use wasmtrace::hook::{BufferPlace, MANIFEST_SECTION, Manifest, OBSERVE, ProbeId, RECORDER};
use wasmtrace::module;
use wasmtrace::trace::{Event, EventKind, RunOutcome, Trap};

/// Stack for a module without hooks; one with hooks gets four times as much, as `runtime` does it. Small, so that both
/// fit on the thread of a test.
const STACK: usize = 128 << 10;
const HOOKED_STACK: usize = 4 * STACK;

/// A broken compiler makes loops that do not end: after so many events they are cut off. (wasmtime's epochs would cut off
/// those without events too, but with them it reports other addresses for the first operator of a body.)
const MOST_EVENTS: usize = 4 << 20;

/// The most that a memory or the heap of a guest grows to; random modules make arrays of any length.
const MOST_MEMORY: usize = 16 << 20;

/// An engine with every proposal that wasmtime has. NaNs are canonical, so that results can be compared by bits.
pub struct Host {
    engine: Engine,
    /// In a module with the hook set `threshold`: whether calls that make no others are counted only.
    counts_only: bool,
    most_memory: usize,
}

/// A module that is ready to be instantiated.
#[derive(Clone)]
pub struct Compiled {
    module: Module,
    /// Where it records, if it does.
    buffer: Option<BufferPlace>,
}

/// Any number of instances that may import from each other. Each has its own hook functions, so that events can be
/// attributed to instances.
pub struct World {
    store: Store<Guest>,
    /// What each instance was made of, in the order in which they were made, and which was the first of the same module.
    made_of: Vec<(Module, usize)>,
}

/// One instance, with the events that its hooks have reported so far.
pub struct Session {
    world: World,
    /// There is none if the start function did not return.
    instance: Option<Instance>,
    /// The result of the instantiation.
    pub start: Call,
}

/// The data of a store: the state of its instances.
pub struct Guest {
    /// What the hooks of each instance have seen.
    seen: Vec<Seen>,
    limits: StoreLimits,
    counts_only: bool,
    /// The tag of what `env.throw` throws.
    thrown: Option<Tag>,
    /// What the engine says of the frames of the last end that was no return, by their debug information, if it was asked to.
    sources: Vec<String>,
}

/// What the hooks of one instance have seen.
struct Seen {
    events: Vec<Event>,
    place: Option<BufferPlace>,
    /// Bytes of an event in it.
    event_size: u32,
    /// The buffer's memory, known from the first event on.
    buffer: Option<wasmtime::Memory>,
    /// Whether there may be events in it.
    open: bool,
    /// The calls that are open, with the numbers of those that catch exceptions: a number stands on its call, or, where that
    /// is not hooked, alone.
    calls: Vec<OpenCall>,
    /// How many calls of functions that catch there were.
    catching: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum OpenCall {
    Of(ProbeId),
    Number(u32),
}

/// The result of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// How the call ended. A trap has its code, but neither a message nor frames.
    pub ending: RunOutcome,
    /// The returned values, floats by their bits.
    pub returned: Vec<String>,
    /// The WebAssembly frames of the backtrace if the call did not return, innermost first.
    pub frames: Vec<Frame>,
}

/// One frame of a backtrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The number of the first instance of the same module. The engine does not distinguish instances of one module.
    pub instance: usize,
    pub func: u32,
    /// The offset of the instruction in the file. `None` if the stack overflows at the start of a function.
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
    /// Creates a host for modules without hooks.
    pub fn plain() -> Host {
        Host::new(STACK)
    }

    /// Creates a host for modules with hooks.
    pub fn hooked() -> Host {
        Host::new(HOOKED_STACK)
    }

    /// Creates a host for modules that may count calls instead of recording them.
    pub fn counting() -> Host {
        Host { counts_only: true, ..Host::hooked() }
    }

    /// Removes the memory limit, for trusted guests.
    pub fn without_limit(self) -> Host {
        Host { most_memory: usize::MAX, ..self }
    }

    /// Creates a host whose engine reads debug information.
    pub fn with_sources() -> Host {
        Host::of(HOOKED_STACK, wasmtime::WasmBacktraceDetails::Enable)
    }

    fn new(stack: usize) -> Host {
        Host::of(stack, wasmtime::WasmBacktraceDetails::Disable)
    }

    fn of(stack: usize, details: wasmtime::WasmBacktraceDetails) -> Host {
        let mut config = wasmtime::Config::new();
        config
            .wasm_backtrace_details(details)
            .max_wasm_stack(stack)
            // Much is compiled here, and little of it runs for long.
            .cranelift_opt_level(OptLevel::None)
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
        Host { engine: Engine::new(&config).unwrap(), counts_only: false, most_memory: MOST_MEMORY }
    }

    /// The frames of a trap in a call of `export`, as the engine describes them.
    pub fn backtrace(&self, wasm: &[u8], export: &str) -> Vec<String> {
        let mut session = self.open(&self.compile(wasm).unwrap()).unwrap();
        session.call(export).unwrap();
        session.sources().to_vec()
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
        let mut world = World::new(self);
        let linker = self.linker(&mut world)?;
        Session::open(compiled, &linker, world)
    }

    /// Instantiates the module. Imports that this host does not know do nothing, and return zero or null.
    pub fn open_with_defaults(&self, compiled: &Compiled) -> wasmtime::Result<Session> {
        let mut world = World::new(self);
        let mut linker = self.linker(&mut world)?;
        linker.define_unknown_imports_as_default_values(&mut world.store, &compiled.module)?;
        Session::open(compiled, &linker, world)
    }

    fn linker(&self, world: &mut World) -> wasmtime::Result<Linker<Guest>> {
        let mut linker: Linker<Guest> = Linker::new(&self.engine);
        linker.func_wrap("env", "ping", |n: i32| n.wrapping_add(1))?;
        linker.func_wrap("env", "call_table", |mut caller: Caller<'_, Guest>, at: u32| {
            let table = caller.get_export("table").and_then(Extern::into_table).expect("a table is exported");
            match table.get(&mut caller, u64::from(at)) {
                Some(Ref::Func(Some(func))) => func.call(&mut caller, &[], &mut []),
                _ => panic!("element {at} is no function"),
            }
        })?;
        let exception = ExnType::new(&self.engine, [ValType::I32])?;
        let tag = Tag::new(&mut world.store, &exception.tag_type())?;
        world.store.data_mut().thrown = Some(tag);
        linker.define(&world.store, "env", "thrown", tag)?;
        linker.func_wrap("env", "throw", move |mut caller: Caller<'_, Guest>, n: i32| -> wasmtime::Result<()> {
            let tag = caller.data().thrown.expect("set above");
            let allocator = ExnRefPre::new(&mut caller, exception.clone());
            let thrown = ExnRef::new(&mut caller, &allocator, &tag, &[Val::I32(n)])?;
            caller.as_context_mut().throw(thrown)
        })?;
        linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(Exit(code)))
        })?;
        Ok(linker)
    }
}

impl World {
    pub fn new(host: &Host) -> World {
        let limits = StoreLimitsBuilder::new().memory_size(host.most_memory).build();
        let counts_only = host.counts_only;
        let guest = Guest { seen: Vec::new(), limits, counts_only, thrown: None, sources: Vec::new() };
        let mut store = Store::new(&host.engine, guest);
        store.limiter(|guest| &mut guest.limits);
        World { store, made_of: Vec::new() }
    }

    pub fn store(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }

    /// Number of instances, including those whose start function failed.
    pub fn instances(&self) -> usize {
        self.made_of.len()
    }

    /// The number of the first instance of the same module.
    pub fn first_of_its_module(&self, instance: usize) -> usize {
        self.made_of[instance].1
    }

    fn first_of(&self, module: &Module) -> Option<usize> {
        self.made_of.iter().position(|(one, _)| Module::same(one, module))
    }

    /// Creates an instance. `resolve` finds its imports, except hooks. The outer error means that the engine rejects
    /// the module or that an import is missing. The inner error says how a start function that did not return ended.
    pub fn instantiate(
        &mut self,
        compiled: &Compiled,
        mut resolve: impl FnMut(&mut Store<Guest>, &ImportType<'_>) -> Option<Extern>,
    ) -> wasmtime::Result<Result<Instance, Call>> {
        let number = self.instances();
        let first = self.first_of(&compiled.module).unwrap_or(number);
        self.made_of.push((compiled.module.clone(), first));
        let place = compiled.buffer.clone();
        self.store.data_mut().seen.push(Seen {
            events: Vec::new(),
            place,
            event_size: if compiled.module.imports().any(|i| i.name() == "flush-counted") { 8 } else { 4 },
            buffer: None,
            open: false,
            calls: Vec::new(),
            catching: 0,
        });
        let mut imports = Vec::new();
        for import in compiled.module.imports() {
            let found = match hook(&mut self.store, number, &import) {
                Some(hook) => Some(Extern::from(hook)),
                None => resolve(&mut self.store, &import),
            };
            let missing = || wasmtime::Error::msg(format!("unknown import {} {}", import.module(), import.name()));
            imports.push(found.ok_or_else(missing)?);
        }
        let made = Instance::new(&mut self.store, &compiled.module, &imports);
        self.collect();
        match made {
            Ok(instance) => Ok(Ok(instance)),
            Err(e) => Ok(Err(self.ended(e)?)),
        }
    }

    /// Calls a function. The error says how the call ended, if it did not return.
    pub fn call(&mut self, func: &Func, params: &[Val]) -> Result<Vec<Val>, Call> {
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        let ended = func.call(&mut self.store, params, &mut results);
        self.collect();
        match ended {
            Ok(()) => Ok(results),
            Err(e) => Err(self.ended(e).expect("a call ends in one of the guest's ways")),
        }
    }

    /// The events that the hooks of an instance have reported.
    pub fn events(&self, instance: usize) -> &[Event] {
        &self.store.data().seen[instance].events
    }

    /// Discards all events so far.
    pub fn forget(&mut self) {
        self.store.data_mut().seen.iter_mut().for_each(|seen| seen.events.clear());
    }

    /// Takes what is in the buffers.
    fn collect(&mut self) {
        for instance in 0..self.instances() {
            // Too many events are noticed by whoever counts them.
            let _ = taken(&mut self.store, instance, Then::Closed);
        }
    }

    /// What an error says of the guest; an error that is none of the guest's comes back.
    fn ended(&mut self, e: wasmtime::Error) -> wasmtime::Result<Call> {
        let frame = |f: &wasmtime::FrameInfo| Frame {
            instance: self.first_of(f.module()).expect("it is one of ours"),
            func: f.func_index(),
            offset: f.module_offset(),
        };
        let frames: Vec<Frame> =
            e.downcast_ref::<WasmBacktrace>().map_or_else(Vec::new, |b| b.frames().iter().map(frame).collect());
        let trapped = |code: String| {
            RunOutcome::Trapped(Trap { code, message: String::new(), frames: frames.iter().map(|f| f.func).collect() })
        };
        let ending = if let Some(Exit(code)) = e.downcast_ref() {
            RunOutcome::Exited(*code)
        } else if let Some(code) = e.downcast_ref::<TrapCode>() {
            trapped(format!("{code:?}"))
        } else if e.is::<wasmtime::ThrownException>() {
            trapped("exception".to_owned())
        } else if !frames.is_empty() {
            trapped(e.root_cause().to_string())
        } else {
            return Err(e);
        };
        self.store.data_mut().sources = e.downcast_ref::<WasmBacktrace>().map_or_else(Vec::new, |b| {
            let symbol =
                |s: &wasmtime::FrameSymbol| format!("{:?} {:?}:{:?}:{:?}", s.name(), s.file(), s.line(), s.column());
            b.frames().iter().flat_map(|f| f.symbols()).map(symbol).collect()
        });
        Ok(Call { ending, returned: Vec::new(), frames })
    }
}

impl Session {
    /// The outer error is the engine's refusal; how the start function ended is in the session.
    fn open(compiled: &Compiled, linker: &Linker<Guest>, mut world: World) -> wasmtime::Result<Session> {
        let resolve =
            |store: &mut Store<Guest>, import: &ImportType<'_>| linker.get(store, import.module(), import.name()).ok();
        let (instance, start) = match world.instantiate(compiled, resolve)? {
            Ok(instance) => (Some(instance), Call::returned(Vec::new())),
            Err(call) => (None, call),
        };
        Ok(Session { world, instance, start })
    }

    /// Number of calls of a function that were only counted.
    pub fn counted(&self, id: ProbeId) -> u32 {
        let Some(memory) = self.world.store.data().seen[0].buffer else { return 0 };
        word(memory.data(&self.world.store), 128 + 4 * id.0)
    }

    /// Calls an exported function with zeros and nulls. `None` if a parameter's type has no default value.
    pub fn call(&mut self, export: &str) -> Option<Call> {
        let Some(instance) = self.instance else { return Some(self.start.clone()) };
        let store = &mut self.world.store;
        let func = instance.get_func(&mut *store, export).unwrap_or_else(|| panic!("`{export}` is exported"));
        let params: Option<Vec<Val>> = func.ty(&*store).params().map(|ty| Val::default_for_ty(&ty)).collect();
        Some(match self.world.call(&func, &params?) {
            Ok(values) => Call::returned(values.iter().map(|value| show(&mut self.world.store, value)).collect()),
            Err(call) => call,
        })
    }

    /// The values of the module's exports except functions, one line each.
    pub fn state(&mut self) -> Vec<String> {
        let Some(instance) = self.instance else { return Vec::new() };
        let exports: Vec<(String, Extern)> =
            instance.exports(&mut self.world.store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
        let buffer = self.world.store.data().seen[0].place.as_ref().map(|place| place.export.clone());
        let exports = exports.into_iter().filter(|(name, _)| buffer.as_ref() != Some(name));
        exports.filter_map(|(name, item)| Some(format!("{name}: {}", self.item(&item)?))).collect()
    }

    fn item(&mut self, item: &Extern) -> Option<String> {
        let store = &mut self.world.store;
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

    /// The frames of the last call that did not return, as the engine describes them.
    pub fn sources(&self) -> &[String] {
        &self.world.store.data().sources
    }

    /// The events that the hooks have reported so far.
    pub fn events(&self) -> &[Event] {
        self.world.events(0)
    }
}

/// The hook that an instance imports, if it is one.
fn hook(store: &mut Store<Guest>, instance: usize, import: &ImportType<'_>) -> Option<Func> {
    let name = import.name().to_owned();
    Some(match (import.module(), import.name()) {
        (RECORDER, "flush-words" | "flush-counted") => Func::wrap(store, move |mut caller: Caller<'_, Guest>| {
            let place = caller.data().seen[instance].place.clone().expect("its Manifest says where");
            let memory = caller.get_export(&place.export).and_then(Extern::into_memory).expect("it is exported");
            let seen = &mut caller.data_mut().seen[instance];
            (seen.buffer, seen.open) = (Some(memory), true);
            taken(caller, instance, Then::Open)
        }),
        (RECORDER, "memory-grow") => Func::wrap(store, move |mut caller: Caller<'_, Guest>, pages: u32| {
            taken(&mut caller, instance, Then::Open)?;
            caller.data_mut().seen[instance].see(EventKind::MemoryGrow(pages))
        }),
        (OBSERVE, "enter" | "exit" | "memory-grow") => {
            Func::wrap(store, move |mut caller: Caller<'_, Guest>, id: u32| {
                caller.data_mut().seen[instance].see(match name.as_str() {
                    "enter" => EventKind::Enter(ProbeId(id)),
                    "exit" => EventKind::Exit(ProbeId(id)),
                    _ => EventKind::MemoryGrow(id), // that is, pages
                })
            })
        }
        _ => return None,
    })
}

impl Seen {
    /// Takes one event of a buffer.
    fn read(&mut self, word: u32) -> wasmtime::Result<()> {
        let (number, id) = (word >> 2, ProbeId(word >> 2));
        match word & 3 {
            0 => {
                self.calls.push(OpenCall::Of(id));
                self.see(EventKind::Enter(id))
            }
            1 => {
                let open = self.calls.iter().rposition(|call| *call == OpenCall::Of(id));
                self.calls.truncate(open.unwrap_or(self.calls.len()));
                self.see(EventKind::Exit(id))
            }
            2 if word >> 31 == 1 => {
                let id = ProbeId(number & !(1 << 29));
                self.see(EventKind::Enter(id))?;
                self.see(EventKind::Exit(id))
            }
            2 => {
                let at = self.calls.iter().rposition(|call| *call == OpenCall::Number(number));
                let above = self.calls.split_off(at.expect("a call of this number is open") + 1);
                above.iter().rev().try_for_each(|call| match call {
                    OpenCall::Of(id) => self.see(EventKind::Unwound(*id)),
                    OpenCall::Number(_) => Ok(()),
                })
            }
            _ => {
                self.catching += 1;
                let hooked = id.0 != u32::MAX >> 2;
                self.calls.extend(hooked.then_some(OpenCall::Of(id)));
                self.calls.push(OpenCall::Number(self.catching));
                if hooked { self.see(EventKind::Enter(id)) } else { Ok(()) }
            }
        }
    }

    fn see(&mut self, kind: EventKind) -> wasmtime::Result<()> {
        self.events.push(Event { at: self.events.len() as u64, kind }); // the clock of a test ticks once an event
        if self.events.len() < MOST_EVENTS { Ok(()) } else { Err(TrapCode::Interrupt.into()) }
    }
}

/// What becomes of a buffer whose events were taken.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// There is room for as many as there is room for at all.
    Open,
    /// It is as new: the next event asks for room.
    Closed,
}

/// Takes the events in a guest's buffer.
fn taken(mut store: impl AsContextMut<Data = Guest>, instance: usize, then: Then) -> wasmtime::Result<()> {
    let seen = &store.as_context().data().seen[instance];
    let Some(memory) = seen.buffer.filter(|_| seen.open) else { return Ok(()) };
    let (data, guest) = memory.data_and_store_mut(&mut store);
    let seen = &mut guest.seen[instance];
    let first = seen.place.as_ref().expect("it has a buffer").first_block;
    let mut result = Ok(());
    let cursor = word(data, 0).max(first) as usize;
    let size = seen.event_size;
    for event in data[first as usize..cursor].chunks_exact(size as usize) {
        result = seen.read(word(event, 0));
    }
    if then == Then::Closed {
        // The guest has gone back to the host: none of its calls is open any more.
        seen.calls.clear();
    }
    seen.open = then == Then::Open;
    let (cursor, limit) = if seen.open { (first, data.len() as u32) } else { (0, 0) };
    let threshold = if guest.counts_only { u32::MAX } else { 0 };
    for (at, word) in [(0, cursor), (4, limit), (68, threshold)] {
        data[at..][..4].copy_from_slice(&word.to_le_bytes());
    }
    result
}

fn word(memory: &[u8], at: u32) -> u32 {
    u32::from_le_bytes(memory[at as usize..][..4].try_into().unwrap())
}

impl Call {
    pub fn returned(returned: Vec<String>) -> Call {
        Call { ending: RunOutcome::Returned, returned, frames: Vec::new() }
    }

    /// Whether the stack overflowed. Only this end can be caused by the hooks themselves.
    pub fn out_of_stack(&self) -> bool {
        matches!(&self.ending, RunOutcome::Trapped(trap) if trap.code == format!("{:?}", TrapCode::StackOverflow))
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
