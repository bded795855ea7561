//! Theorem: in a host's own store, a hooked module is seen to do what it is seen to do in ours, with every hook set, whatever
//! the host does around it: several calls of an instance, several instances, stores, threads, awaits, traps, exits. Outside of
//! a recording nothing is heard, and nothing disturbs the guest. What cannot be recorded is refused.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Caller, Engine, Instance, Linker, Module, Store};
use wasmtrace::hook::{HookSet, ProbeId};
use wasmtrace::runtime::{self, Config, Invoke, RecordedCalls, TraceSlot, TracedModule};
use wasmtrace::trace::calltree::CallTree;
use wasmtrace::trace::span_builder::What;
use wasmtrace::trace::{Event, EventKind, Manual, RunOutcome};
use wasmtrace::{Options, rewrite};

/// The host's own data, with the place for the trace in it.
#[derive(Default)]
struct State {
    heard: Vec<i32>,
    trace: TraceSlot,
}

/// `work N` calls `leaf` N times and gives N; `fail` traps below `inner`; `ask` asks the host; `say` uses the manual API.
const MODULE: &str = r#"(module
    (import "host" "ask" (func $ask (param i32)))
    (import "dylibso:observe/api" "span-enter" (func $span (param i32 i32)))
    (import "dylibso:observe/api" "span-exit" (func $over))
    (memory (export "memory") 1)
    (data (i32.const 8) "cart")
    (func $leaf)
    (func (export "work") (param $n i32) (result i32) (local $i i32)
        loop
            local.get $i local.get $n i32.lt_u
            if call $leaf local.get $i i32.const 1 i32.add local.set $i br 1 end
        end
        local.get $i)
    (func $inner unreachable)
    (func (export "fail") call $inner)
    (func (export "ask") (param i32) local.get 0 call $ask)
    (func (export "say") i32.const 8 i32.const 4 call $span call $leaf call $over))"#;

const SETS: [HookSet; 3] = [HookSet::Observe, HookSet::Buffer, HookSet::Threshold];

/// A hooked module, and a host's linker for it.
struct Host {
    engine: Engine,
    module: Module,
    linker: Linker<State>,
    tracing: TracedModule,
}

impl Host {
    fn new(wat: &str, hooks: HookSet) -> Host {
        Host::with(Engine::default(), wat, hooks)
    }

    fn with(engine: Engine, wat: &str, hooks: HookSet) -> Host {
        let options = rewrite::Options { hooks, ..Default::default() };
        let options = Options { rewrite: options, ..Default::default() };
        let tracing = TracedModule::new(&wat::parse_str(wat).unwrap(), &options).unwrap();
        let module = Module::new(&engine, tracing.wasm()).unwrap();
        let mut linker = Linker::new(&engine);
        let ask = |mut caller: Caller<'_, State>, what: i32| caller.data_mut().heard.push(what);
        linker.func_wrap("host", "ask", ask).unwrap();
        tracing.add_to_linker(&mut linker, &module, trace).unwrap();
        Host { engine, module, linker, tracing }
    }

    fn store(&self) -> Store<State> {
        Store::new(&self.engine, State::default())
    }

    fn instance(&self, store: &mut Store<State>) -> Instance {
        self.linker.instantiate(store, &self.module).unwrap()
    }

    /// Calls an export while it is recorded.
    fn recorded(&self, store: &mut Store<State>, instance: Instance, function: &str, n: i32) -> Seen {
        let mut events = Vec::new();
        let recorded = self.tracing.record(store, trace, take(&mut events), |store| call(store, instance, function, n));
        (recorded.unwrap(), events)
    }
}

type Seen = (RecordedCalls<i32>, Vec<Event>);

fn trace(state: &mut State) -> &mut TraceSlot {
    &mut state.trace
}

fn take(events: &mut Vec<Event>) -> impl FnMut(&[Event]) + Send {
    |some| events.extend_from_slice(some)
}

/// Calls an export with that argument, if it takes one; what it gives, or 0.
fn call(mut store: impl wasmtime::AsContextMut, instance: Instance, function: &str, n: i32) -> wasmtime::Result<i32> {
    let function = instance.get_func(&mut store, function).unwrap();
    let ty = function.ty(&store);
    let args = vec![wasmtime::Val::I32(n); ty.params().len()];
    let mut results = vec![wasmtime::Val::I32(0); ty.results().len()];
    function.call(&mut store, &args, &mut results)?;
    Ok(results.first().map_or(0, |value| value.unwrap_i32()))
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    assert!(events.is_sorted_by_key(|event| event.at));
    events.iter().map(|event| event.kind.clone()).filter(|kind| !matches!(kind, EventKind::ClockGap(_))).collect()
}

fn enters(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event.kind, EventKind::Enter(_))).count()
}

/// What our own store sees of it.
fn in_our_store(wasm: &[u8], function: &str, args: &[&str]) -> (RunOutcome, Vec<EventKind>) {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let invoke = Some(Invoke { function: function.to_owned(), args });
    let mut events = Vec::new();
    let outcome = runtime::run(wasm, &Config { invoke, ..Default::default() }, |some| events.extend_from_slice(some));
    (outcome.unwrap().ending, kinds(&events))
}

#[test]
fn a_hosts_store_sees_what_ours_sees() {
    let wat = MODULE.replace(r#"(import "host" "ask" (func $ask (param i32)))"#, "");
    let wat = wat.replace("(func $leaf)", "(func $ask (param i32)) (func $leaf)");
    for set in SETS {
        let host = Host::new(&wat, set);
        assert_eq!(host.tracing.has_buffer(), set != HookSet::Observe);
        for (function, args) in [("work", &["10000"][..]), ("fail", &[]), ("say", &[]), ("ask", &["7"])] {
            let mut store = host.store();
            let instance = host.instance(&mut store);
            let n = args.first().map_or(0, |arg| arg.parse().unwrap());
            let (recorded, events) = host.recorded(&mut store, instance, function, n);
            let (ending, ours) = in_our_store(host.tracing.wasm(), function, args);
            assert_eq!((&recorded.ending, kinds(&events)), (&ending, ours), "{set:?} {function}");
            assert_eq!(recorded.result.is_ok(), ending == RunOutcome::Returned);
            assert!(events.iter().all(|event| event.at <= recorded.duration));
        }
    }
}

/// A linker is left as it was: it refuses what is defined twice, another module's hooks too, or it does not.
#[test]
fn a_linker_refuses_the_hooks_of_a_second_module_unless_it_allows_shadowing() {
    for set in SETS {
        let mut host = Host::new(MODULE, set);
        let ask = |_: Caller<'_, State>, _: i32| ();
        assert!(host.linker.func_wrap("host", "ask", ask).is_err());
        let refused = host.tracing.add_to_linker(&mut host.linker, &host.module, trace).unwrap_err().to_string();
        assert!(refused.contains("use one linker for each hooked module") && refused.contains("twice"), "{refused}");
        host.linker.allow_shadowing(true);
        host.tracing.add_to_linker(&mut host.linker, &host.module, trace).unwrap();
        host.linker.func_wrap("host", "ask", ask).unwrap();
        let mut store = host.store();
        let instance = host.instance(&mut store);
        assert_eq!(enters(&host.recorded(&mut store, instance, "work", 2).1), 3);
    }
}

#[test]
fn what_the_guest_calls_is_the_hosts_and_what_it_says_is_heard() {
    for set in SETS {
        let host = Host::new(MODULE, set);
        let mut store = host.store();
        let instance = host.instance(&mut store);
        assert_eq!(enters(&host.recorded(&mut store, instance, "ask", 7).1), 1);
        let (_, events) = host.recorded(&mut store, instance, "say", 0);
        let said =
            |event: &Event| matches!(&event.kind, EventKind::Manual(m) if **m == Manual::SpanEnter("cart".into()));
        // Between the two enters, though they come by another way.
        assert!(events.len() == 6 && said(&events[1]), "{set:?} {events:?}");
        assert_eq!(store.data().heard, [7]);
    }
}

#[test]
fn each_recording_of_an_instance_has_its_own_calls_and_what_is_between_them_nobody_hears() {
    for set in SETS {
        let host = Host::new(MODULE, set);
        let mut store = host.store();
        let instance = host.instance(&mut store);
        // More than a buffer holds, and nobody listens.
        assert_eq!(call(&mut store, instance, "work", 100_000).unwrap(), 100_000);
        for n in [3, 0, 50_000, 1] {
            let (recorded, events) = host.recorded(&mut store, instance, "work", n);
            assert_eq!((recorded.result.unwrap(), enters(&events)), (n, n as usize + 1), "{set:?}");
            assert_eq!(call(&mut store, instance, "work", 1_000).unwrap(), 1_000);
        }
        // A trap ends a recording, and not what comes after.
        let (recorded, events) = host.recorded(&mut store, instance, "fail", 0);
        let RunOutcome::Trapped(trap) = &recorded.ending else { panic!("{:?}", recorded.ending) };
        assert_eq!((&trap.code[..], trap.frames.len(), events.len()), ("unreachable_code_reached", 2, 2));
        assert_eq!(enters(&host.recorded(&mut store, instance, "work", 2).1), 3);
        // Several calls in one.
        let mut events = Vec::new();
        let calls = |mut store: wasmtime::StoreContextMut<'_, State>| {
            call(&mut store, instance, "work", 1)?;
            call(&mut store, instance, "fail", 0).unwrap_err();
            call(&mut store, instance, "work", 2)
        };
        let recorded = host.tracing.record(&mut store, trace, take(&mut events), calls).unwrap();
        assert_eq!((recorded.ending, enters(&events)), (RunOutcome::Returned, 2 + 2 + 3));
    }
}

#[test]
fn an_error_of_the_hosts_own_is_an_ending_too() {
    let host = Host::new(MODULE, HookSet::Buffer);
    let failed = |_: wasmtime::StoreContextMut<'_, State>| Err::<(), _>(wasmtime::Error::msg("no such tenant"));
    let recorded = host.tracing.record(host.store(), trace, |_| {}, failed).unwrap();
    let RunOutcome::Trapped(trap) = recorded.end().ending else { panic!() };
    assert_eq!((&trap.code[..], &trap.message[..]), ("host_error", "no such tenant"));
    for (code, ending) in [(0, RunOutcome::Exited(0)), (7, RunOutcome::Exited(7))] {
        let exits = |_: wasmtime::StoreContextMut<'_, State>| Err::<(), _>(wasmtime_wasi::I32Exit(code).into());
        assert_eq!(host.tracing.record(host.store(), trace, |_| {}, exits).unwrap().ending, ending);
    }
}

#[test]
fn two_instances_in_one_recording_are_one_run_where_their_order_is_known_and_refused_where_it_is_not() {
    for set in SETS {
        let host = Host::new(MODULE, set);
        let mut store = host.store();
        let (one, other) = (host.instance(&mut store), host.instance(&mut store));
        let mut events = Vec::new();
        let calls = |mut store: wasmtime::StoreContextMut<'_, State>| {
            call(&mut store, one, "work", 1)?;
            call(&mut store, other, "work", 2)
        };
        let recorded = host.tracing.record(&mut store, trace, take(&mut events), calls).unwrap();
        match recorded.result {
            Ok(_) => assert_eq!((set, enters(&events)), (HookSet::Observe, 5)),
            Err(e) => {
                assert!(
                    set != HookSet::Observe && e.root_cause().to_string().starts_with("a second instance"),
                    "{e:?}"
                );
                assert_eq!(enters(&events), 2, "what came before is there");
            }
        }
        // In recordings of their own they are heard.
        for (instance, n) in [(one, 4), (other, 5), (one, 6)] {
            assert_eq!(enters(&host.recorded(&mut store, instance, "work", n).1), n as usize + 1, "{set:?}");
        }
    }
}

#[test]
fn many_stores_are_recorded_at_a_time() {
    for set in SETS {
        let host = Arc::new(Host::new(MODULE, set));
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let host = host.clone();
                std::thread::spawn(move || {
                    for round in 0..5 {
                        let mut store = host.store();
                        let instance = host.instance(&mut store);
                        let calls = 1_000 * n + round;
                        let (recorded, events) = host.recorded(&mut store, instance, "work", calls);
                        assert_eq!((recorded.result.unwrap(), enters(&events)), (calls, calls as usize + 1));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_slow_consumer_is_waited_for_and_misses_nothing() {
    for set in [HookSet::Observe, HookSet::Buffer] {
        let host = Host::new(MODULE, set);
        let mut store = host.store();
        let instance = host.instance(&mut store);
        let mut seen = 0;
        let slow = |some: &[Event]| {
            seen += some.len();
            std::thread::sleep(Duration::from_millis(20));
        };
        let recorded = host.tracing.record(&mut store, trace, slow, |store| call(store, instance, "work", 100_000));
        let recorded = recorded.unwrap();
        assert_eq!(recorded.result.unwrap(), 100_000, "{set:?}");
        assert!(seen >= 200_002, "{set:?}: {seen} events, {} ns waited", recorded.waited);
    }
}

/// A store is recorded once at a time; and what a host does with a `TraceSlot`, safe as its code is, reads no memory that is gone.
#[test]
fn a_trace_is_worth_nothing_in_another_place() {
    for set in SETS {
        let host = Host::new(MODULE, set);
        let mut store = host.store();
        let instance = host.instance(&mut store);
        let mut kept = TraceSlot::default();
        let mut events = Vec::new();
        let calls = |mut store: wasmtime::StoreContextMut<'_, State>| {
            call(&mut store, instance, "work", 1)?;
            let twice = host.tracing.record(&mut store, trace, |_| {}, |_| Ok(()));
            assert_eq!(twice.unwrap_err().to_string(), "this store is already being recorded");
            kept = std::mem::take(&mut store.data_mut().trace);
            call(&mut store, instance, "work", 2)?;
            // In another store, which is gone before the recording ends.
            let mut other = host.store();
            other.data_mut().trace = std::mem::take(&mut kept);
            let of_other = host.instance(&mut other);
            call(&mut other, of_other, "work", 3)?;
            kept = std::mem::take(&mut other.data_mut().trace);
            Ok(())
        };
        let recorded = host.tracing.record(&mut store, trace, take(&mut events), calls).unwrap();
        assert_eq!((recorded.ending, recorded.result.is_ok()), (RunOutcome::Returned, true));
        assert!(enters(&events) <= 2, "{set:?} {events:?}");
        // Behind its end.
        store.data_mut().trace = kept;
        assert_eq!(call(&mut store, instance, "work", 100_000).unwrap(), 100_000);
        assert_eq!(enters(&host.recorded(&mut store, instance, "work", 2).1), 3, "{set:?}");
        drop(store);
        let mut store = host.store();
        let instance = host.instance(&mut store);
        assert_eq!(enters(&host.recorded(&mut store, instance, "work", 2).1), 3);
    }
}

#[test]
fn a_panic_of_the_host_ends_the_recording() {
    let host = Host::new(MODULE, HookSet::Buffer);
    let mut store = host.store();
    let instance = host.instance(&mut store);
    let calls = std::panic::AssertUnwindSafe(|| {
        let _ = host.tracing.record(
            &mut store,
            trace,
            |_| {},
            |mut store| -> wasmtime::Result<()> {
                call(&mut store, instance, "work", 10)?;
                panic!("the host's own")
            },
        );
    });
    assert!(std::panic::catch_unwind(calls).is_err());
    let consumer = std::panic::AssertUnwindSafe(|| {
        let consume = |_: &[Event]| panic!("the consumer's own");
        let _ = host.tracing.record(&mut store, trace, consume, |store| call(store, instance, "work", 100_000));
    });
    assert!(std::panic::catch_unwind(consumer).is_err());
    assert_eq!(enters(&host.recorded(&mut store, instance, "work", 2).1), 3);
}

/// A module that asks a host which takes its time.
fn asynchronous(set: HookSet) -> Host {
    let mut host = Host::new(MODULE, set);
    host.linker.allow_shadowing(true);
    let ask = host.linker.func_wrap_async("host", "ask", |mut caller: Caller<'_, State>, (what,): (i32,)| {
        Box::new(async move {
            tokio::task::yield_now().await;
            caller.data_mut().heard.push(what);
        })
    });
    ask.unwrap();
    host
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn calls_that_await_are_recorded_with_the_set_observe_and_refused_with_a_buffer() {
    let host = Arc::new(asynchronous(HookSet::Observe));
    // Many at a time, as tasks.
    let tasks = async {
        let mut tasks = Vec::new();
        for n in 1..5 {
            let host = host.clone();
            tasks.push(async move {
                let events = Arc::new(std::sync::Mutex::new(Vec::new()));
                let seen = events.clone();
                let mut store = host.store();
                let consume = move |some: &[Event]| seen.lock().unwrap().extend_from_slice(some);
                let calls = async |mut store: wasmtime::StoreContextMut<'_, State>| {
                    let instance = host.linker.instantiate_async(&mut store, &host.module).await?;
                    let ask = instance.get_typed_func::<i32, ()>(&mut store, "ask")?;
                    for what in 0..n {
                        ask.call_async(&mut store, what).await?;
                    }
                    Ok(())
                };
                let recorded = host.tracing.record_async(&mut store, trace, consume, calls).await.unwrap();
                assert_eq!(recorded.ending, RunOutcome::Returned);
                assert_eq!(enters(&events.lock().unwrap()), n as usize);
                assert_eq!(store.data().heard.len(), n as usize);
            });
        }
        for task in tasks {
            task.await;
        }
    };
    block_on(tasks);

    let host = asynchronous(HookSet::Buffer);
    let refused = block_on(host.tracing.record_async(host.store(), trace, |_| {}, async |_| Ok(())));
    assert!(refused.unwrap_err().to_string().contains("cannot be recorded across awaits"));
    // But in a scope of its own that blocks.
    let mut store = host.store();
    let mut events = Vec::new();
    let calls = |mut store: wasmtime::StoreContextMut<'_, State>| {
        block_on(async {
            let instance = host.linker.instantiate_async(&mut store, &host.module).await?;
            instance.get_typed_func::<i32, ()>(&mut store, "ask")?.call_async(&mut store, 3).await
        })
    };
    let recorded = host.tracing.record(&mut store, trace, take(&mut events), calls).unwrap();
    assert_eq!((recorded.ending, enters(&events), &store.data().heard[..]), (RunOutcome::Returned, 1, &[3][..]));
}

#[test]
fn a_future_that_is_dropped_ends_its_recording() {
    let host = asynchronous(HookSet::Observe);
    let mut store = host.store();
    let instance = block_on(host.linker.instantiate_async(&mut store, &host.module)).unwrap();
    let events = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = events.clone();
    {
        let consume = move |some: &[Event]| seen.lock().unwrap().extend_from_slice(some);
        let calls = async |mut store: wasmtime::StoreContextMut<'_, State>| {
            let ask = instance.get_typed_func::<i32, ()>(&mut store, "ask")?;
            ask.call_async(&mut store, 1).await
        };
        let mut future = Box::pin(host.tracing.record_async(&mut store, trace, consume, calls));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert!(matches!(kinds(&events.lock().unwrap())[..], [EventKind::Enter(_)]), "it was within the call");
    // The store goes on, and can be recorded again.
    let work = instance.get_typed_func::<i32, i32>(&mut store, "work").unwrap();
    assert_eq!(block_on(work.call_async(&mut store, 9)).unwrap(), 9);
    assert_eq!(enters(&events.lock().unwrap()), 1);
    let recorded = host.tracing.record(&mut store, trace, |_| {}, |mut store| block_on(work.call_async(&mut store, 3)));
    assert_eq!(recorded.unwrap().result.unwrap(), 3);
}

/// A host that takes batches gets what another thread has seen of where its guest was, without a signal: it is in the call tree, and
/// the tree says so. A host that takes events gets the same calls.
#[test]
fn a_call_tree_of_a_hosts_own_has_samples() {
    // The time is in `leaf`, of which each call calls the host, so that its caller is not taken for it.
    let module = r#"(module
        (import "host" "ask" (func $ask (param i32)))
        (func $leaf (param $n i32)
            local.get $n call $ask
            (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "work") (param $n i32) (result i32) (local $i i32)
            loop
                local.get $i local.get $n i32.lt_u
                if i32.const 20000 call $leaf local.get $i i32.const 1 i32.add local.set $i br 1 end
            end
            local.get $i))"#;
    let host = Host::new(module, HookSet::Buffer);
    let mut store = host.store();
    let instance = host.instance(&mut store);
    let (n, mut tree) = (10_000, CallTree::new());
    let calls = |store: wasmtime::StoreContextMut<'_, State>| call(store, instance, "work", n);
    let recorded = host.tracing.record_batches(&mut store, trace, |batch| tree.batch(batch), calls).unwrap();
    assert_eq!((recorded.result.unwrap(), &recorded.ending), (n, &RunOutcome::Returned));
    tree.finish(&recorded.ending, recorded.duration, |_| {});
    let accuracy = tree.accuracy();
    assert!(accuracy.samples > 0 && accuracy.seen >= accuracy.samples, "{accuracy:?}");
    assert_eq!(tree.profile().calls(), 1 + n as u64);
    // Behind one import of its own and two of its hooks.
    let (leaf, work) = (ProbeId(3), ProbeId(4));
    let seen = |id| tree.profile().nodes().find(|node| node.what == Some(What::Call(id))).unwrap().samples;
    assert!(seen(leaf).0 * 2 > accuracy.samples, "{:?} of {accuracy:?}", seen(leaf));
    assert_eq!(seen(work).1, accuracy.samples, "all of them are in it and what it called");
    let (_, events) = host.recorded(&mut store, instance, "work", 1_000);
    assert_eq!(enters(&events), 1_001);
}

/// A call of the host's panics, or one of its functions: what the guest did until then has been recorded, and the next recording is
/// complete.
#[test]
fn a_panic_in_the_calls_costs_no_events() {
    let host = Host::new(MODULE, HookSet::Buffer);
    let mut store = host.store();
    let instance = host.instance(&mut store);
    for n in [20, 3_000, 100_000] {
        let mut events = Vec::new();
        let calls = |store: wasmtime::StoreContextMut<'_, State>| -> wasmtime::Result<()> {
            call(store, instance, "work", n)?;
            panic!("the host's own")
        };
        let recording = || host.tracing.record(&mut store, trace, take(&mut events), calls);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(recording)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the host's own"));
        assert_eq!(enters(&events), 1 + n as usize);
        let (recorded, events) = host.recorded(&mut store, instance, "work", 1_000);
        assert_eq!((recorded.result.unwrap(), kinds(&events).len()), (1_000, 2 * 1_001));
    }
}

/// A consumer panics: a guest that would run for ever ends, and the panic comes out.
#[test]
fn a_panic_of_the_consumer_ends_the_guest() {
    let host = Host::new(MODULE, HookSet::Buffer);
    let mut store = host.store();
    let instance = host.instance(&mut store);
    let calls = |store: wasmtime::StoreContextMut<'_, State>| call(store, instance, "work", -1);
    let mut batches = 0;
    let consume = |_: &wasmtrace::trace::batch::Batch| {
        batches += 1;
        assert!(batches < 5, "the consumer's own");
    };
    let recording = || host.tracing.record_batches(&mut store, trace, consume, calls);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(recording)).unwrap_err();
    assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("the consumer's own")));
    let (recorded, events) = host.recorded(&mut store, instance, "work", 10);
    assert_eq!((recorded.result.unwrap(), kinds(&events).len()), (10, 2 * 11));
}

/// The engine interrupts a function that calls nothing, and the host calls others meanwhile: these are within it, and every call that
/// was entered is left.
#[test]
fn calls_out_of_a_callback_of_the_engine_are_nested() {
    let module = r#"(module
        (func $leaf (param $n i32)
            (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func $short)
        (func (export "nest") (local $i i32)
            (loop $again
                call $short
                (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000)))))
        (func (export "work") (param $n i32) (result i32) (local $i i32)
            (loop $again
                (call $leaf (i32.const 2000))
                (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $i)))"#;
    let engine = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
    let host = Host::with(engine, module, HookSet::Buffer);
    let mut store = host.store();
    store.set_epoch_deadline(1_000_000);
    let instance = host.instance(&mut store);
    let nest = instance.get_typed_func::<(), ()>(&mut store, "nest").unwrap();
    store.epoch_deadline_callback(move |mut store| {
        // Not while it is interrupted already.
        store.set_epoch_deadline(1_000_000_000);
        nest.call(&mut store, ())?;
        Ok(wasmtime::UpdateDeadline::Continue(1))
    });
    store.set_epoch_deadline(1);
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ticks = std::thread::spawn({
        let (engine, over) = (host.engine.clone(), over.clone());
        move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
    let (recorded, events) = host.recorded(&mut store, instance, "work", 20_000);
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    ticks.join().unwrap();
    assert_eq!(recorded.result.unwrap(), 20_000);
    let mut open = Vec::new();
    let (leaf, mut nested) = (ProbeId(2), 0);
    for kind in kinds(&events) {
        match kind {
            EventKind::Enter(id) => {
                nested += usize::from(id != leaf && open.last() == Some(&leaf));
                open.push(id);
            }
            EventKind::Exit(id) => assert_eq!(open.pop(), Some(id)),
            other => panic!("{other:?}"),
        }
    }
    assert!(open.is_empty() && nested > 10, "{nested} calls out of the middle of one");
}
