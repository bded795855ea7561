//! The WebAssembly features that a module needs.

use wasmparser::WasmFeatures;

/// The features that a module needs, by wasmparser's names: without any one of them, the module is invalid.
pub fn needed(bytes: &[u8]) -> Vec<&'static str> {
    names(least(bytes))
}

fn names(features: WasmFeatures) -> Vec<&'static str> {
    WasmFeatures::all().iter_names().filter(|(_, f)| features.contains(*f)).map(|(name, _)| name).collect()
}

fn is_valid(bytes: &[u8], features: WasmFeatures) -> bool {
    wasmparser::Validator::new_with_features(features).validate_all(bytes).is_ok()
}

/// A least set of features under which a module is valid.
fn least(bytes: &[u8]) -> WasmFeatures {
    let mut needed = crate::module::all_features();
    // From newest to oldest, so that a feature implied by a newer one is not reported separately.
    let mut candidates: Vec<WasmFeatures> = WasmFeatures::all().iter_names().map(|(_, f)| f).collect();
    candidates.sort_by_key(|f| std::cmp::Reverse(f.bits().count_ones()));
    narrow(&|features| is_valid(bytes, features), &mut needed, &candidates);
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

/// The features that `hooked` needs and `original` does not. Usually there are none. The exceptions are:
///
/// - A module with `try_table` needs reference types for the `exnref` that its wrappers rethrow.
/// - A module that exits open calls before it ends needs reference types for the tables that hold these calls.
/// - A module that records into a buffer and has a memory of its own needs multiple memories.
pub fn added(original: &[u8], hooked: &[u8]) -> Vec<&'static str> {
    let before = least(original);
    let parsed = [original, hooked].map(|bytes| crate::module::parse(bytes).ok());
    let has_buffer = parsed[1].as_ref().is_some_and(|module| {
        module.imported_funcs().iter().any(|import| import.module == wasmtrace_abi::hook::RECORDER)
    });
    let [tables, more_tables] = parsed.map(|module| module.map_or(0, |module| module.table_count()));
    let has_exit_guard = more_tables == tables + crate::hooks::exit_guard::TABLES;
    let mut allowed = before;
    if before.contains(WasmFeatures::EXCEPTIONS) || has_exit_guard {
        allowed |= WasmFeatures::REFERENCE_TYPES;
    }
    if has_buffer {
        allowed |= WasmFeatures::MULTI_MEMORY;
    }
    // One validation instead of a search, unless there is something to find.
    if is_valid(hooked, allowed) { Vec::new() } else { names(least(hooked).difference(allowed)) }
}
