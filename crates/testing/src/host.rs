//! A host for tests: it calls exports of a module under wasmtime and notes everything that is visible from outside.
//!
//! It shares no code with `wasmtrace::runtime`: it is an independent second host for the same hooks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use wasmtime::{
    AsContextMut, Caller, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func, ImportType, Instance, Linker, Module,
    OptLevel, Ref, Store, StoreLimits, StoreLimitsBuilder, Tag, Trap as TrapCode, Val, ValType, WasmBacktrace,
};
use wasmtrace::hook::{BufferPlace, MANIFEST_SECTION, Manifest, ProbeId};
use wasmtrace::module;
use wasmtrace::trace::{Event, RunOutcome, Trap};

mod seen;
mod show;

use seen::{Seen, Then, hook, taken, word};
use show::show;

/// Stack for a module without hooks; one with hooks gets four times as much, as `runtime` does it. Small, so that both
/// fit on the thread of a test.
const STACK: usize = 128 << 10;
const HOOKED_STACK: usize = 4 * STACK;

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

impl Call {
    pub fn returned(returned: Vec<String>) -> Call {
        Call { ending: RunOutcome::Returned, returned, frames: Vec::new() }
    }

    /// Whether the stack overflowed. Only this end can be caused by the hooks themselves.
    pub fn out_of_stack(&self) -> bool {
        matches!(&self.ending, RunOutcome::Trapped(trap) if trap.code == format!("{:?}", TrapCode::StackOverflow))
    }
}
