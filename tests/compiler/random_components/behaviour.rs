//! Theorem: hooks change neither results nor traps, and entries and exits nest.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Linker, Type, Val};
use wasmtime::{Config, Engine, Store, Trap};
use wasmtrace::runtime::{TraceSlot, TracedComponent};
use wasmtrace::trace::EventKind;

use super::hooked::options;
use super::{SETS, count};

/// How many instructions a call may take. Nearly all take far fewer.
const FUEL: u64 = 50_000_000;

/// How many exports are called.
const CALLS: usize = 5;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.consume_fuel(true).wasm_component_model(true);
    // Hooks need more stack than none.
    config.max_wasm_stack(1 << 20);
    Engine::new(&config).unwrap()
});

/// What was run.
#[derive(Debug, Default)]
pub(super) struct Runs {
    components: AtomicU64,
    instantiated: AtomicU64,
    calls: AtomicU64,
    traps: AtomicU64,
    events: AtomicU64,
    /// Calls that did not end.
    endless: AtomicU64,
}

impl std::fmt::Display for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let Runs { components, instantiated, calls, traps, events, endless } = self;
        write!(
            f,
            "{} components run, {} instantiated: {} calls, of which {} trapped, with {} events; {} did not end",
            of(components),
            of(instantiated),
            of(calls),
            of(traps),
            of(events),
            of(endless),
        )
    }
}

/// How an instantiation or a call ended: with results, with a trap, or with another error.
#[derive(Debug, PartialEq)]
enum End {
    Returned(Vec<Val>),
    Trapped(Trap),
    Failed(String),
}

impl End {
    fn of(result: wasmtime::Result<Vec<Val>>) -> End {
        match result {
            Ok(values) => End::Returned(values),
            Err(e) => match e.downcast_ref::<Trap>() {
                Some(trap) => End::Trapped(*trap),
                None => End::Failed(e.root_cause().to_string()),
            },
        }
    }

    /// Where a limit is reached depends on the hooks.
    fn is_limit(&self) -> bool {
        matches!(self, End::Trapped(Trap::OutOfFuel | Trap::StackOverflow))
    }
}

/// The theorem, of a component that can be hooked with both sets.
pub(super) fn behaves_the_same(wasm: &[u8], runs: &Runs) {
    let Ok(plain) = Component::new(&ENGINE, wasm) else { return };
    count(&runs.components, 1);
    let traced = SETS.map(|set| TracedComponent::new(wasm, &options(set)).unwrap());
    let compiled = traced.each_ref().map(|traced| {
        Component::new(&ENGINE, traced.wasm()).unwrap_or_else(|e| panic!("the engine refuses the output: {e:?}"))
    });
    // The last one only instantiates.
    let [of_plain, of_hooked @ ..] = [&plain, &compiled[0], &compiled[1]].map(exports);
    assert!(of_hooked.iter().all(|of_hooked| of_hooked.len() == of_plain.len()), "exports are missing");
    for at in 0..=of_plain.len().min(CALLS) {
        let export = of_plain.get(at).filter(|_| at < CALLS);
        let mut linker = Linker::new(&ENGINE);
        if linker.define_unknown_imports_as_traps(&plain).is_err() {
            return;
        }
        let expected = End::of(run(&mut store(), &linker, &plain, export));
        count(&runs.calls, 1);
        count(&runs.traps, u64::from(matches!(expected, End::Trapped(_))));
        for ((traced, compiled), exports) in traced.iter().zip(&compiled).zip(&of_hooked) {
            let export = exports.get(at).filter(|_| at < CALLS);
            let mut linker = Linker::new(&ENGINE);
            traced.add_to_linker(&mut linker, |trace: &mut TraceSlot| trace).unwrap();
            linker.define_unknown_imports_as_traps(compiled).unwrap();
            let (mut open, mut count_of_events, mut wrong) = (Vec::new(), 0, None);
            let mut store = store();
            let recorded = traced.record(
                &mut store,
                |trace| trace,
                |events| {
                    for event in events {
                        count_of_events += 1;
                        match event.kind {
                            EventKind::Enter(id) => open.push(id),
                            EventKind::Exit(id) if open.last() == Some(&id) => drop(open.pop()),
                            // The machine was busy.
                            EventKind::ClockGap(_) => {}
                            ref other => drop(wrong.get_or_insert_with(|| format!("{other:?} in {open:?}"))),
                        }
                    }
                },
                |mut store| run(&mut store, &linker, compiled, export),
            );
            let found = End::of(recorded.unwrap().result);
            count(&runs.events, count_of_events);
            if expected.is_limit() || found.is_limit() {
                count(&runs.endless, 1);
                continue;
            }
            assert!(same(&expected, &found), "call {at}: {expected:?}, with hooks {found:?}");
            assert_eq!(wrong, None, "call {at}: events do not nest");
            if matches!(expected, End::Returned(_)) {
                assert_eq!(open, [], "call {at}: calls are open");
            }
        }
        if at == 0 && !matches!(expected, End::Failed(_)) {
            count(&runs.instantiated, 1);
        }
    }
}

/// Equal, where NaN equals itself.
fn same(expected: &End, found: &End) -> bool {
    expected == found || format!("{expected:?}") == format!("{found:?}")
}

fn store() -> Store<TraceSlot> {
    let mut store = Store::new(&ENGINE, TraceSlot::default());
    store.set_fuel(FUEL).unwrap();
    store
}

/// A function that is exported, and its parameters.
struct Export {
    index: ComponentExportIndex,
    params: Vec<Val>,
    results: usize,
}

/// The exported functions with parameters of which default values are known.
fn exports(component: &Component) -> Vec<Export> {
    let mut all = Vec::new();
    let mut add = |item: &ComponentItem, index: Option<ComponentExportIndex>| {
        if let (ComponentItem::ComponentFunc(ty), Some(index)) = (item, index)
            && let Some(params) = ty.params().map(|(_, ty)| default(&ty)).collect()
        {
            all.push(Export { index, params, results: ty.results().len() });
        }
    };
    for (name, item) in component.component_type().exports(&ENGINE) {
        let index = component.get_export_index(None, name);
        if let ComponentItem::ComponentInstance(instance) = &item.ty {
            for (inner, item) in instance.exports(&ENGINE) {
                add(&item.ty, component.get_export_index(index.as_ref(), inner));
            }
        }
        add(&item.ty, index);
    }
    all
}

fn default(ty: &Type) -> Option<Val> {
    Some(match ty {
        Type::Bool => Val::Bool(true),
        Type::S8 => Val::S8(1),
        Type::U8 => Val::U8(1),
        Type::S16 => Val::S16(1),
        Type::U16 => Val::U16(1),
        Type::S32 => Val::S32(3),
        Type::U32 => Val::U32(3),
        Type::S64 => Val::S64(3),
        Type::U64 => Val::U64(3),
        Type::Float32 => Val::Float32(1.5),
        Type::Float64 => Val::Float64(1.5),
        Type::Char => Val::Char('a'),
        Type::String => Val::String("some text".to_owned()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Enum(ty) => Val::Enum(ty.names().next()?.to_owned()),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Tuple(ty) => Val::Tuple(ty.types().map(|ty| default(&ty)).collect::<Option<_>>()?),
        Type::Record(ty) => {
            let field =
                |field: wasmtime::component::types::Field<'_>| Some((field.name.to_owned(), default(&field.ty)?));
            Val::Record(ty.fields().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Instantiates the component, and calls the function.
fn run(
    mut store: impl wasmtime::AsContextMut<Data = TraceSlot>,
    linker: &Linker<TraceSlot>,
    component: &Component,
    export: Option<&Export>,
) -> wasmtime::Result<Vec<Val>> {
    let instance = linker.instantiate(&mut store, component)?;
    let Some(export) = export else { return Ok(Vec::new()) };
    // An exported type of functions looks like a function.
    let Some(func) = instance.get_func(&mut store, export.index) else { return Ok(Vec::new()) };
    let mut results = vec![Val::Bool(false); export.results];
    func.call(&mut store, &export.params, &mut results)?;
    Ok(results)
}
