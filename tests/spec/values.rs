//! Values of scripts: what functions are called with, and what they are to return.

use std::mem::discriminant;
use wasmtime::{AnyRef, ExternRef, Rooted, Val};

use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

use testing::host::World;

/// An argument.
pub fn argument(world: &mut World, arg: &WastArg<'_>) -> Result<Val, String> {
    let WastArg::Core(arg) = arg else { return Err("an argument of a component".to_owned()) };
    Ok(match arg {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
        WastArgCore::RefNull(HeapType::Abstract { shared: false, ty }) => null(*ty)?,
        WastArgCore::RefNull(ty) => return Err(format!("a null of the type {ty:?}")),
        WastArgCore::RefExtern(number) => Val::ExternRef(Some(host_value(world, *number)?)),
        WastArgCore::RefHost(number) => {
            let value = host_value(world, *number)?;
            Val::AnyRef(Some(AnyRef::convert_extern(world.store(), value).map_err(|e| e.to_string())?))
        }
    })
}

fn null(ty: AbstractHeapType) -> Result<Val, String> {
    use AbstractHeapType::{Any, Array, Eq, Exn, Extern, Func, I31, NoExn, NoExtern, NoFunc, None as NoAny, Struct};
    Ok(match ty {
        Func | NoFunc => Val::FuncRef(None),
        Extern | NoExtern => Val::ExternRef(None),
        Any | Eq | I31 | Struct | Array | NoAny => Val::AnyRef(None),
        Exn | NoExn => Val::ExnRef(None),
        other => return Err(format!("a null of the type {other:?}")),
    })
}

/// A reference of the host's that is known by its number.
fn host_value(world: &mut World, number: u32) -> Result<Rooted<ExternRef>, String> {
    ExternRef::new(world.store(), number).map_err(|e| e.to_string())
}

/// The number of a reference of the host's; `None` if it is another's.
fn number_of(world: &mut World, value: &Rooted<ExternRef>) -> Option<u32> {
    value.data(world.store()).ok()??.downcast_ref().copied()
}

/// Whether `values` are what a script says that they are.
pub fn expect(world: &mut World, expected: &[WastRet<'_>], values: &[Val]) -> Result<(), String> {
    if expected.len() != values.len() {
        return Err(format!("{} values, and not {}", values.len(), expected.len()));
    }
    for (expected, value) in expected.iter().zip(values) {
        let WastRet::Core(expected) = expected else { return Err("a result of a component".to_owned()) };
        if !matches(world, expected, value) {
            return Err(format!("{value:?}, and not {expected:?}"));
        }
    }
    Ok(())
}

fn matches(world: &mut World, expected: &WastRetCore<'_>, value: &Val) -> bool {
    use WastRetCore::{
        Either, F32, F64, I32, I64, RefAny, RefArray, RefEq, RefExtern, RefFunc, RefHost, RefI31, RefNull, RefStruct,
        V128,
    };
    match (expected, value) {
        (Either(any), _) => any.iter().any(|expected| matches(world, expected, value)),
        (I32(expected), Val::I32(value)) => expected == value,
        (I64(expected), Val::I64(value)) => expected == value,
        (F32(expected), Val::F32(bits)) => f32_matches(expected, *bits),
        (F64(expected), Val::F64(bits)) => f64_matches(expected, *bits),
        (V128(expected), Val::V128(value)) => v128_matches(expected, value.as_u128()),
        (RefNull(None), value) => is_null(value),
        (RefNull(Some(HeapType::Abstract { shared: false, ty })), value) => {
            is_null(value) && null(*ty).is_ok_and(|null| discriminant(&null) == discriminant(value))
        }
        // Which function it is nobody can say from outside.
        (RefFunc(_), Val::FuncRef(value)) => value.is_some(),
        (RefExtern(None), Val::ExternRef(value)) => value.is_some(),
        (RefExtern(Some(number)), Val::ExternRef(Some(value))) => number_of(world, value) == Some(*number),
        (RefHost(number), Val::AnyRef(Some(any))) => {
            let any = *any;
            ExternRef::convert_any(world.store(), any).is_ok_and(|value| number_of(world, &value) == Some(*number))
        }
        (RefAny, Val::AnyRef(value)) => value.is_some(),
        (RefEq, Val::AnyRef(Some(any))) => any.is_eqref(world.store()).is_ok_and(|is| is),
        (RefI31, Val::AnyRef(Some(any))) => any.is_i31(world.store()).is_ok_and(|is| is),
        (RefStruct, Val::AnyRef(Some(any))) => any.is_struct(world.store()).is_ok_and(|is| is),
        (RefArray, Val::AnyRef(Some(any))) => any.is_array(world.store()).is_ok_and(|is| is),
        _ => false,
    }
}

fn is_null(value: &Val) -> bool {
    value.ref_().is_some_and(|reference| reference.is_null())
}

fn f32_matches(expected: &NanPattern<F32>, bits: u32) -> bool {
    match expected {
        NanPattern::Value(value) => value.bits == bits,
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
    }
}

fn f64_matches(expected: &NanPattern<F64>, bits: u64) -> bool {
    match expected {
        NanPattern::Value(value) => value.bits == bits,
        NanPattern::CanonicalNan => bits & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
    }
}

fn v128_matches(expected: &V128Pattern, whole: u128) -> bool {
    let lane = |width: usize, at: usize| (whole >> (at * width)) as u64;
    match expected {
        V128Pattern::I8x16(lanes) => (0..16).all(|at| lanes[at] == lane(8, at) as i8),
        V128Pattern::I16x8(lanes) => (0..8).all(|at| lanes[at] == lane(16, at) as i16),
        V128Pattern::I32x4(lanes) => (0..4).all(|at| lanes[at] == lane(32, at) as i32),
        V128Pattern::I64x2(lanes) => (0..2).all(|at| lanes[at] == lane(64, at) as i64),
        V128Pattern::F32x4(lanes) => (0..4).all(|at| f32_matches(&lanes[at], lane(32, at) as u32)),
        V128Pattern::F64x2(lanes) => (0..2).all(|at| f64_matches(&lanes[at], lane(64, at))),
    }
}
