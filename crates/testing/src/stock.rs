//! A host of components that knows nothing of hooks.

use wasmtime::component::{Component, Linker, ResourceTable, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

/// The name of the program.
pub const PROGRAM: &str = "program";

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What a component did.
#[derive(Debug)]
pub struct Ran {
    /// The results, an exit code, or the trap.
    pub end: String,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Runs a command, or calls the export `go` with each of these values.
pub fn ran(wasm: &[u8], args: &[&str], calls: &[Val]) -> Ran {
    let engine = Engine::default();
    let component = Component::from_binary(&engine, wasm).unwrap();
    let mut linker: Linker<Host> = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
    let [stdout, stderr] = [(), ()].map(|()| MemoryOutputPipe::new(64 << 20));
    let mut wasi = WasiCtx::builder();
    wasi.stdout(stdout.clone()).stderr(stderr.clone()).arg(PROGRAM).args(args);
    let mut store = Store::new(&engine, Host { wasi: wasi.build(), table: ResourceTable::new() });
    let mut go = || -> wasmtime::Result<String> {
        if calls.is_empty() {
            let command = Command::instantiate(&mut store, &component, &linker)?;
            return Ok(format!("{:?}", command.wasi_cli_run().call_run(&mut store)?));
        }
        let instance = linker.instantiate(&mut store, &component)?;
        let function = instance.get_func(&mut store, "go").expect("it is exported");
        let mut all = Vec::new();
        for call in calls {
            let mut results = [Val::Bool(false)];
            function.call(&mut store, std::slice::from_ref(call), &mut results)?;
            all.push(format!("{results:?}"));
        }
        Ok(all.concat())
    };
    let end = go().unwrap_or_else(|e| match (e.downcast_ref::<I32Exit>(), e.downcast_ref::<wasmtime::Trap>()) {
        (Some(exit), _) => format!("exit {}", exit.0),
        (_, Some(trap)) => format!("trap {trap}"),
        _ => panic!("{e:?}"),
    });
    Ran { end, stdout: stdout.contents().to_vec(), stderr: stderr.contents().to_vec() }
}
