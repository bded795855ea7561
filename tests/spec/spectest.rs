//! The module that every script may import from: numbers, a table, a memory, and functions that are to print.

use std::collections::HashMap;

use wasmtime::{
    Extern, Func, FuncType, Global, GlobalType, Memory, MemoryType, Mutability, Ref, RefType, SharedMemory, Table,
    TableType, Val, ValType,
};

use testing::host::World;

pub fn imports(world: &mut World) -> HashMap<String, Extern> {
    let mut store = world.store();
    let mut imports: HashMap<String, Extern> = HashMap::new();
    let engine = store.engine().clone();
    for (name, params) in [
        ("print", &[] as &[ValType]),
        ("print_i32", &[ValType::I32]),
        ("print_i64", &[ValType::I64]),
        ("print_f32", &[ValType::F32]),
        ("print_f64", &[ValType::F64]),
        ("print_i32_f32", &[ValType::I32, ValType::F32]),
        ("print_f64_f64", &[ValType::F64, ValType::F64]),
    ] {
        let ty = FuncType::new(&engine, params.iter().cloned(), []);
        imports.insert(name.to_owned(), Func::new(&mut store, ty, |_, _, _| Ok(())).into());
    }
    for (name, value, ty) in [
        ("global_i32", Val::I32(666), ValType::I32),
        ("global_i64", Val::I64(666), ValType::I64),
        ("global_f32", Val::F32(666.6f32.to_bits()), ValType::F32),
        ("global_f64", Val::F64(666.6f64.to_bits()), ValType::F64),
    ] {
        let global = Global::new(&mut store, GlobalType::new(ty, Mutability::Const), value);
        imports.insert(name.to_owned(), global.expect("the value is of the type").into());
    }
    for (name, ty) in [
        ("table", TableType::new(RefType::FUNCREF, 10, Some(20))),
        ("table64", TableType::new64(RefType::FUNCREF, 10, Some(20))),
    ] {
        let table = Table::new(&mut store, ty, Ref::Func(None)).expect("a small table");
        imports.insert(name.to_owned(), table.into());
    }
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2))).expect("a small memory");
    imports.insert("memory".to_owned(), memory.into());
    let shared = SharedMemory::new(&engine, MemoryType::shared(1, 2)).expect("a small memory");
    imports.insert("shared_memory".to_owned(), shared.into());
    imports
}
