//! `wasmtrace info`

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use wasmtrace::label::{Source, hex, label, printable};
use wasmtrace::links::{DEBUG_FILE, SOURCE_MAP};
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::{Options, component, features, injected, links};

use crate::files;
use crate::terminal::Global;

/// Show properties of a module or component: features, names, debug information, hooks; with -v, also its sections
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Module or component to read, binary or text [default: standard input]
    #[arg(value_name = "IN")]
    input: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let wasm = files::read(args.input.as_deref())?;
    let name = files::name(args.input.as_deref());
    if component::is_component(&wasm) {
        return of_component(args, &name, &wasm, global.verbose);
    }
    let module = parse(&wasm).with_context(|| name.clone())?;
    // Features are named after their proposals.
    let features: Vec<String> =
        features::needed(&module).into_iter().map(|f| f.to_lowercase().replace('_', "-")).collect();
    let labels = label(&module);
    global.warn("", &labels.warnings);
    let injected_funcs = injected::injected_functions(&module);
    let is_own = |func: &FuncIdx| module.is_defined(*func) && injected_funcs.binary_search(func).is_err();
    let by = |source| labels.iter().filter(|(f, l)| is_own(f) && l.source == source).count();
    let (defined, imported) = (module.defined_funcs().len() - injected_funcs.len(), module.imported_funcs().len());
    let debug: Vec<&str> = debug_sections(&module);
    let dwarf = wasmtrace::label::dwarf_versions(&module);
    let build_id = links::build_id(&module).map(hex);
    let source_map = links::named_by(&module, SOURCE_MAP).map(crate::sidecar::short);
    let debug_file = links::named_by(&module, DEBUG_FILE).map(crate::sidecar::short);
    let hooks = hooks(&module);
    // wasmtrace relocates or drops the debug sections that it knows.
    let is_ours = hooks.as_ref().is_some_and(|hooks| hooks["by"] == "wasmtrace");
    let is_stale = hooks.is_some() && debug.iter().any(|name| !is_ours || wasmtrace::describes_original(name));
    let value = json!({
        "schema": "wasmtrace.info/1",
        "module": name,
        "bytes": wasm.len(),
        "functions": { "defined": defined, "imported": imported, "of_hooks": injected_funcs.len() },
        "names": {
            "name_section": by(Source::NameSection), "export": by(Source::Export),
            "dwarf": by(Source::Dwarf), "none": by(Source::Index),
        },
        "kind": kind(&module),
        "features": features,
        "debug_sections": debug,
        "dwarf_versions": dwarf,
        "source_map": source_map,
        "debug_file": debug_file,
        "describes_original": is_stale,
        "build_id": build_id,
        "hooks": hooks,
    });
    if args.json {
        let sections = module.sections().iter();
        let sections =
            sections.map(|s| json!({ "id": s.id, "name": s.name, "offset": s.whole.start, "bytes": s.whole.len() }));
        files::print_json_rows(value, "sections", sections)?;
        return Ok(0);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let list = |items: &[&str], none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    writeln!(out, "{}: {} bytes, {}", printable(&name), wasm.len(), kind(&module))?;
    let behind = if injected_funcs.is_empty() { String::new() } else { format!(", {} injected", injected_funcs.len()) };
    writeln!(out, "functions  {defined} defined, {imported} imported{behind}")?;
    writeln!(
        out,
        "names      {} from the name section, {} from exports, {} from DWARF, {} have none",
        by(Source::NameSection),
        by(Source::Export),
        by(Source::Dwarf),
        by(Source::Index)
    )?;
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    writeln!(out, "features   {}", list(&features, "none beyond the MVP"))?;
    writeln!(out, "debug      {}", debug_summary(&module, &dwarf))?;
    for (what, name) in [("source map", source_map), ("debug file", debug_file), ("build id", build_id)] {
        if let Some(name) = name {
            writeln!(out, "{what:<10} {}", printable(&name))?;
        }
    }
    match &value["hooks"] {
        Value::Null => writeln!(out, "hooks      none")?,
        hooks => {
            writeln!(
                out,
                "hooks      {} by {}",
                hooks["set"].as_str().unwrap_or("?"),
                hooks["by"].as_str().unwrap_or("?")
            )?;
            if let Some(probes) = hooks["functions"].as_u64() {
                let restore = if hooks["restores"] == true { "can be stripped" } else { "cannot be stripped" };
                writeln!(out, "           {probes} functions, {restore}")?;
            }
            if let Some(id) = hooks["input_build_id"].as_str() {
                writeln!(out, "           the build id of the original is {id}")?;
            }
            if is_stale {
                writeln!(out, "           the debug information describes the original, not this module")?;
            }
        }
    }
    let sections = module.sections();
    if !global.verbose {
        writeln!(out, "sections   {} (-v shows them)", sections.len())?;
    }
    for section in sections.iter().filter(|_| global.verbose) {
        let what =
            section.name.map_or_else(|| section_name(section.id).to_owned(), |n| format!("\"{}\"", printable(n)));
        writeln!(out, "section    {:>#10x} {:>10} bytes  {what}", section.whole.start, section.whole.len())?;
    }
    out.flush()?;
    Ok(0)
}

/// Maximum number of core modules in a summary.
const MODULES: usize = 16;

/// Shows properties of a component: its core modules, and its hooks.
fn of_component(args: &Args, name: &str, wasm: &[u8], is_verbose: bool) -> Result<u8> {
    let contents = component::read(wasm, &Options::default()).with_context(|| name.to_owned())?;
    let hooks = contents.manifest.as_ref().map(|manifest| {
        json!({
            "set": manifest.hooks.name(),
            "instances": manifest.instances.len(),
            "restores": manifest.restore.is_some(),
            "input_sha256": hex(&manifest.input_sha256),
        })
    });
    let core_modules = contents.modules.iter().map(|core| {
        let module = &core.module;
        let injected = injected::injected_functions(module).len();
        json!({
            "name": core.name,
            "offset": core.offset,
            "bytes": module.bytes().len(),
            "functions": {
                "defined": module.defined_funcs().len() - injected,
                "imported": module.imported_funcs().len(),
                "of_hooks": injected,
            },
            "debug_sections": debug_sections(module),
            "hooked": injected::hooked(module).map(|hooked| hooked.len()),
            "not_hooked": core.refused,
        })
    });
    let core_modules: Vec<Value> = core_modules.collect();
    if args.json {
        files::print_json(&json!({
            "schema": "wasmtrace.component/1",
            "component": name,
            "bytes": wasm.len(),
            "components": contents.components,
            "core_modules": core_modules,
            "hooks": hooks,
        }))?;
        return Ok(0);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let nested = of(contents.components - 1, "nested component");
    writeln!(
        out,
        "{}: {} bytes, component, {nested}, {}",
        printable(name),
        wasm.len(),
        of(core_modules.len(), "core module")
    )?;
    match &hooks {
        None => writeln!(out, "hooks      none")?,
        Some(hooks) => {
            let restore = if hooks["restores"] == true { "can be stripped" } else { "cannot be stripped" };
            writeln!(out, "hooks      {} by wasmtrace, {restore}", hooks["set"].as_str().unwrap_or("?"))?;
        }
    }
    let shown = if is_verbose { core_modules.len() } else { core_modules.len().min(MODULES) };
    for core in &core_modules[..shown] {
        let count = |of: &Value| of.as_u64().unwrap_or_default();
        let functions = &core["functions"];
        write!(
            out,
            "module     {:>#10x} {:>10} bytes  {}: {} functions, {} imported",
            count(&core["offset"]),
            count(&core["bytes"]),
            printable(core["name"].as_str().unwrap_or_default()),
            count(&functions["defined"]),
            count(&functions["imported"]),
        )?;
        if let Some(hooked) = core["hooked"].as_u64() {
            write!(out, ", {hooked} hooked")?;
        }
        if let Some(why) = core["not_hooked"].as_str() {
            write!(out, " (is not hooked: {why})")?;
        }
        writeln!(out)?;
    }
    if core_modules.len() > shown {
        writeln!(out, "           {} more (-v shows them)", of(core_modules.len() - shown, "core module"))?;
    }
    out.flush()?;
    Ok(0)
}

fn kind(module: &Module<'_>) -> &'static str {
    let exports = |name| module.exports().iter().any(|(n, _)| *n == name);
    if exports("_start") {
        "command"
    } else if exports("_initialize") {
        "reactor"
    } else {
        "library"
    }
}

/// The versions of DWARF in the module, and the number and the size of its sections.
fn debug_summary(module: &Module<'_>, dwarf: &[u16]) -> String {
    let sections = module.sections().iter().filter(|s| s.name.is_some_and(|name| name.starts_with(".debug_")));
    let sizes: Vec<usize> = sections.map(|section| section.whole.len()).collect();
    if sizes.is_empty() {
        return "none".to_owned();
    }
    let versions: String = dwarf.iter().map(|version| format!("DWARF {version}, ")).collect();
    let plural = if sizes.len() == 1 { "" } else { "s" };
    format!("{versions}{} section{plural}, {} bytes", sizes.len(), sizes.iter().sum::<usize>())
}

fn debug_sections<'a>(module: &Module<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = module
        .sections()
        .iter()
        .filter_map(|s| s.name)
        .filter(|n| n.starts_with(".debug_") || matches!(*n, "sourceMappingURL" | "external_debug_info"))
        .collect();
    names.dedup();
    names
}

/// The hooks in the module and the tool that wrote them.
fn hooks(module: &Module<'_>) -> Option<Value> {
    if let Some(manifest) = module.manifest() {
        return Some(match manifest {
            Ok(manifest) => json!({
                "by": "wasmtrace",
                "set": manifest.hooks.name(),
                "functions": manifest.probes.len(),
                "restores": manifest.restore.is_some(),
                "input_sha256": hex(&manifest.input_sha256),
                "input_build_id": (!manifest.build_id.is_empty()).then(|| hex(&manifest.build_id)),
            }),
            Err(e) => json!({ "by": "wasmtrace", "error": e.to_string() }),
        });
    }
    injected::is_hooked(module).then(|| json!({ "by": "another compiler", "set": "observe" }))
}

/// Names of the sections in the core specification's binary format.
fn section_name(id: u8) -> &'static str {
    const NAMES: [&str; 14] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
        "tag",
    ];
    NAMES.get(usize::from(id)).copied().unwrap_or("unknown")
}
