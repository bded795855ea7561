//! The WebAssembly features that a module needs.

use wasmparser::{
    Chunk, FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, Payload, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use crate::module::{FuncIdx, Module, all_features, parse};
use wasmtrace_abi::hook::RECORDER;

/// Switches of the validator that belong to no proposal. They are not listed.
const SWITCHES: WasmFeatures = WasmFeatures::FLOATS.union(WasmFeatures::GC_TYPES);

/// The features that a module needs, by wasmparser's names: without any one of them, the module is invalid.
pub fn needed(module: &Module<'_>) -> Vec<&'static str> {
    names(least(module))
}

fn names(features: WasmFeatures) -> Vec<&'static str> {
    let features = features.difference(SWITCHES);
    WasmFeatures::all().iter_names().filter(|(_, f)| features.contains(*f)).map(|(name, _)| name).collect()
}

/// A least set of features under which a module is valid.
fn least(module: &Module<'_>) -> WasmFeatures {
    let Some(bodies) = module.bodies_for_features() else {
        // It was not validated, so nothing is known about its bodies.
        return parse(module.bytes()).map_or(all_features(), |module| least(&module));
    };
    let mut needed = all_features();
    // From newest to oldest, so that a feature implied by a newer one is not reported separately. What exports need comes
    // last, since it takes longest to check.
    let mut candidates: Vec<WasmFeatures> =
        WasmFeatures::all().iter_names().map(|(_, f)| f).filter(|f| !SWITCHES.intersects(*f)).collect();
    candidates.sort_by_key(|f| (*f == WasmFeatures::MUTABLE_GLOBAL, std::cmp::Reverse(f.bits().count_ones())));
    narrow(&|features| is_valid(module, &bodies, features), &mut needed, &candidates);
    needed
}

/// Removes the candidates that are not needed. Most features are not needed by most modules, so the search bisects: as
/// long as the rest suffices, one validation removes half of them.
fn narrow(valid: &dyn Fn(WasmFeatures) -> bool, needed: &mut WasmFeatures, candidates: &[WasmFeatures]) {
    let without = candidates.iter().fold(*needed, |features, candidate| features.difference(*candidate));
    if valid(without) {
        *needed = without;
    } else if candidates.len() > 1 {
        let (left, right) = candidates.split_at(candidates.len() / 2);
        narrow(valid, needed, left);
        narrow(valid, needed, right);
    }
}

/// Whether a valid module is valid under fewer features. `bodies` are those that decide.
fn is_valid(module: &Module<'_>, bodies: &[FuncIdx], features: WasmFeatures) -> bool {
    let validate = || -> wasmparser::Result<()> {
        let Some(first) = outside_of_bodies(module, features)? else { return Ok(()) };
        let mut allocations = FuncValidatorAllocations::default();
        for func in bodies {
            let (resources, ty) = (first.resources.clone(), module.type_index(*func));
            let func_to_validate = FuncToValidate { resources, index: func.0, ty, features };
            let mut validator = func_to_validate.into_validator(allocations);
            let body = FunctionBody::new(module.reader_under(module.body(*func), features));
            validator.validate(&body)?;
            allocations = validator.into_allocations();
        }
        Ok(())
    };
    validate().is_ok()
}

/// Validates everything except bodies. Returns the validator of the first body, if there is one.
fn outside_of_bodies(
    module: &Module<'_>,
    features: WasmFeatures,
) -> wasmparser::Result<Option<FuncToValidate<ValidatorResources>>> {
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut validator = Validator::new_with_features(features);
    let mut rest = module.bytes();
    let mut first = None;
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
            unreachable!("validated: the module is complete")
        };
        rest = &rest[consumed..];
        match payload {
            // The validator counts bodies at the end of the module, so the end is not validated.
            Payload::End(_) => return Ok(first),
            Payload::CodeSectionEntry(body) if first.is_none() => {
                first = Some(validator.code_section_entry(&body)?);
                let section = module.section(crate::module::id::CODE).expect("it has bodies");
                rest = &module.bytes()[section.whole.end..];
                parser.skip_section();
            }
            // Debug information and names are not validated.
            Payload::CustomSection(_) => {}
            // Exports need a feature only if they are mutable globals, and matter to a body only if it makes references to
            // functions. Some modules export every function.
            Payload::ExportSection(_)
                if features.contains(WasmFeatures::MUTABLE_GLOBAL) && !module.refers_to_functions() => {}
            payload => match validator.payload(&payload)? {
                ValidPayload::Ok | ValidPayload::End(_) => {}
                ValidPayload::Parser(_) | ValidPayload::Func(..) => unreachable!("a module has neither here"),
            },
        }
    }
}

/// The features that `hooked` needs and `original` does not. Usually there are none. The exceptions are:
///
/// - A module with `try_table` needs reference types for the `exnref` that its wrappers rethrow.
/// - A module that exits open calls before it ends needs reference types for the tables that hold these calls.
/// - A module that records into a buffer and has a memory of its own needs multiple memories.
pub fn added(original: &Module<'_>, hooked: &Module<'_>) -> Vec<&'static str> {
    let mut allowed = least(original);
    let has_buffer = hooked.imported_funcs().iter().any(|import| import.module == RECORDER);
    let has_exit_guard = hooked.table_count() == original.table_count() + crate::hooks::exit_guard::TABLES;
    if allowed.contains(WasmFeatures::EXCEPTIONS) || has_exit_guard {
        allowed |= WasmFeatures::REFERENCE_TYPES;
    }
    if has_buffer {
        allowed |= WasmFeatures::MULTI_MEMORY;
    }
    match hooked.bodies_for_features() {
        // One validation instead of a search, unless there is something to find.
        Some(bodies) if is_valid(hooked, &bodies, allowed) => Vec::new(),
        _ => names(least(hooked).difference(allowed)),
    }
}
