//! Values as texts that can be compared.

use wasmtime::{AnyRef, Func, Rooted, Store, Val, ValType};

use super::Guest;

/// A value as its bits. A reference as the part of it that is comparable between two modules.
pub(super) fn show(store: &mut Store<Guest>, value: &Val) -> String {
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
    // The same type may have another index in another module.
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
            // Nested references are not followed: they may form a cycle.
            let numbers = fields.iter().filter(|field| field.ref_().is_none());
            format!("a struct of {} with {numbers:?}", fields.len(), numbers = numbers.collect::<Vec<_>>())
        }
        None => "a reference".to_owned(),
    }
}
