//! `wasmtrace ls`

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use wasmtrace::injected::{self, injected_functions};
use wasmtrace::label::{label_with, printable};
use wasmtrace::module::{FuncIdx, parse};
use wasmtrace::select::{Reason, select, sizes};

use crate::files;
use crate::select::SelectArgs;
use crate::sidecar::SidecarArgs;
use crate::terminal::Global;

/// List functions: index, size, name, source location, whether they are hooked, and by which rule
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first of these gives a function its name: the import, the name section, an export, DWARF, the index. The column \
`by` shows which. For an instrumented module, `hooked` shows which functions contain hooks; functions that the \
instrumentation added are only counted. Files and lines come from DWARF, otherwise from a source map. \
Sizes are in operators.")]
pub(crate) struct Args {
    /// Module to read, binary or text [default: standard input]
    #[arg(value_name = "IN")]
    input: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Fail if there is a warning, for example about a rule that matches no function
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    sidecar: SidecarArgs,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8> {
    let wasm = files::read(args.input.as_deref())?;
    let name = files::name(args.input.as_deref());
    let module = parse(&wasm).with_context(|| name.clone())?;
    let sidecar = args.sidecar.find_for_labels(args.input.as_deref(), &wasm, global)?;
    let beside = sidecar.read(&module)?;
    let labels = label_with(&module, &beside);
    let rules = args.select.rules()?;
    let plan = select(&module, &labels, &rules);
    let sizes = sizes(&module);
    global.warn("", &beside.warnings);
    global.warn("", &labels.warnings);

    // Rules do not affect a module that is hooked already.
    let hooked = injected::hooked(&module);
    match &hooked {
        Some(_) => args.select.refuse_of_hooked()?,
        None => global.warn("", &plan.warnings),
    }
    if hooked.is_none() && injected::is_hooked(&module) {
        let warning = "cannot tell which functions are hooked: another tool wrote the hooks or changed the module afterwards; \
                       the list shows what `instrument --force` would select";
        global.warn("", &[warning.to_owned()]);
    }
    if args.strict {
        global.refuse_warnings()?;
    }
    let is_hooked = |func| match &hooked {
        Some(hooked) => hooked.binary_search(&func).is_ok(),
        None => plan.contains(func),
    };

    let first = module.imported_funcs().len();
    // Functions that the instrumentation added are not listed.
    let injected_funcs = injected_functions(&module);
    let is_ours = |func: &FuncIdx| injected_funcs.binary_search(func).is_ok();
    let rows = labels.iter().filter(|(func, _)| !is_ours(func)).map(|(func, label)| {
        let reason = hooked.is_none().then(|| match plan.reason(func) {
            Reason::Default => "default".to_owned(),
            Reason::Rule(place) => rules.text(place).unwrap_or_default().to_owned(),
            Reason::TooSmall => format!("--min-size {}", rules.min_size.unwrap_or_default()),
            Reason::Helper => "binding to the manual API".to_owned(),
            Reason::Imported => "imported".to_owned(),
        });
        let size = (func.0 as usize).checked_sub(first).map(|position| sizes[position].operators);
        (func, label, size, is_hooked(func), reason)
    });
    if args.json {
        let functions = rows.map(|(func, label, size, hooked, reason)| {
            json!({
                "index": func.0,
                "name": label.demangled(),
                "raw_name": &*label.name,
                "name_from": label.source.as_str(),
                "operators": size,
                "file": label.file.as_deref(),
                "line": label.line,
                "hooked": hooked,
                "rule": reason,
            })
        });
        files::print_json_rows(
            json!({ "schema": "wasmtrace.ls/1", "module": name, "of_hooks": injected_funcs.len() }),
            "functions",
            functions,
        )?;
        return Ok(0);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{:>6} {:>7} {:<6} {:<6} name", "index", "size", "hooked", "by")?;
    for (func, label, size, hooked, reason) in rows {
        let size = size.map_or_else(|| "-".to_owned(), |s| s.to_string());
        let hooked = if hooked { "yes" } else { "no" };
        write!(
            out,
            "{:>6} {size:>7} {hooked:<6} {:<6} {}",
            func.0,
            label.source.as_str(),
            printable(&label.demangled())
        )?;
        if let Some(file) = &label.file {
            let line = label.line.map(|l| format!(":{l}")).unwrap_or_default();
            write!(out, "  {}{line}", printable(file))?;
        }
        if let Some(reason) = reason.filter(|reason| reason != "default") {
            write!(out, "  [{}]", printable(&reason))?;
        }
        writeln!(out)?;
    }
    out.flush()?;
    drop(out);
    let (hooked, functions) = match &hooked {
        Some(hooked) => {
            let imports = hooked.iter().filter(|func| !module.is_defined(**func)).count();
            (hooked.len(), module.defined_funcs().len() - injected_funcs.len() + imports)
        }
        None => (plan.len(), plan.summary().functions),
    };
    let behind = if injected_funcs.is_empty() { String::new() } else { format!(", {} injected", injected_funcs.len()) };
    writeln!(std::io::stdout(), "{hooked} of {functions} functions hooked, {first} imported{behind}")?;
    Ok(0)
}
