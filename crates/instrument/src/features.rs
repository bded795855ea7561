//! Which proposals a module needs.

use wasmparser::WasmFeatures;

/// The features that a module needs, by wasmparser's names: it is not valid without any one of them.
pub fn needed(bytes: &[u8]) -> Vec<&'static str> {
    let valid = |features| wasmparser::Validator::new_with_features(features).validate_all(bytes).is_ok();
    let mut needed = crate::module::all_features();
    // From the newest to the oldest, so that what a newer feature brings along is charged to it and not to an older one.
    let mut candidates: Vec<WasmFeatures> = WasmFeatures::all().iter_names().map(|(_, f)| f).collect();
    candidates.sort_by_key(|f| std::cmp::Reverse(f.bits().count_ones()));
    narrow(&valid, &mut needed, &candidates);
    WasmFeatures::all().iter_names().filter(|(_, f)| needed.contains(*f)).map(|(name, _)| name).collect()
}

/// Takes those candidates away that are not needed. Most features of most modules are not, so they go in halves: as long
/// as the rest suffices, all of a half are gone in one validation.
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

/// The features that a hooked module needs and the original does not: none, but that a module with `try_table` needs
/// reference types for the `exnref` that its wrappers throw on, one that exits its open calls before it leaves for the tables that
/// it keeps them in, and one with a buffer sidecars a memory several memories.
pub fn added(original: &[u8], hooked: &[u8]) -> Vec<&'static str> {
    let (before, after) = (needed(original), needed(hooked));
    let parsed = [original, hooked].map(|bytes| crate::module::parse(bytes).ok());
    let has_buffer = parsed[1].as_ref().is_some_and(|module| {
        module.imported_funcs().iter().any(|import| import.module == wasmtrace_abi::hook::RECORDER)
    });
    let [tables, more_tables] = parsed.map(|module| module.map_or(0, |module| module.table_count()));
    let guarded = more_tables == tables + crate::hooks::exit_guard::TABLES;
    let declared = |f: &&str| match *f {
        "REFERENCE_TYPES" => before.contains(&"EXCEPTIONS") || guarded,
        "MULTI_MEMORY" => has_buffer,
        _ => false,
    };
    after.into_iter().filter(|f| !before.contains(f) && !declared(f)).collect()
}
