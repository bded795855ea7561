//! `wasmtrace ls`

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;
use wasmtrace::injected::{self, injected_functions};
use wasmtrace::label::{Label, Labels, label_with, printable};
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::select::{Plan, Reason, Rules, Size, select, sizes};
use wasmtrace::{Options, component};

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
    /// Module or component to read, binary or text [default: standard input]
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
    let rules = args.select.rules()?;
    let listed = match component::is_component(&wasm) {
        true => of_component(args, &wasm, &rules, global),
        false => of_module(args, &wasm, &rules, global).map(|listed| vec![listed]),
    };
    let listed = listed.with_context(|| name.clone())?;
    if args.strict {
        global.refuse_warnings()?;
    }
    if args.json {
        let injected: usize = listed.iter().map(|listed| listed.injected.len()).sum();
        let object = json!({ "schema": "wasmtrace.ls/1", "module": name, "of_hooks": injected });
        files::print_json_rows(object, "functions", listed.iter().flat_map(|listed| listed.rows(&rules)).map(to_json))?;
        return Ok(0);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{:>6} {:>7} {:<6} {:<6} name", "index", "size", "hooked", "by")?;
    for row in listed.iter().flat_map(|listed| listed.rows(&rules)) {
        print(&row, &mut out)?;
    }
    out.flush()?;
    drop(out);
    let sum = |count: fn(&Listed<'_>) -> usize| listed.iter().map(count).sum::<usize>();
    let (hooked, functions) = (sum(|listed| listed.hooked_count().0), sum(|listed| listed.hooked_count().1));
    let imported = sum(|listed| listed.module.imported_funcs().len());
    let injected = match sum(|listed| listed.injected.len()) {
        0 => String::new(),
        injected => format!(", {injected} injected"),
    };
    let modules = if listed.len() > 1 { format!(" in {} core modules", listed.len()) } else { String::new() };
    writeln!(std::io::stdout(), "{hooked} of {functions} functions hooked{modules}, {imported} imported{injected}")?;
    Ok(0)
}

/// A module whose functions are listed.
struct Listed<'a> {
    /// The name of a core module of a component.
    core_module: Option<String>,
    module: Module<'a>,
    labels: Labels,
    plan: Plan,
    sizes: Vec<Size>,
    /// The hooked functions, if the module is hooked already.
    hooked: Option<Vec<FuncIdx>>,
    /// The functions that instrumentation added. They are not listed.
    injected: Vec<FuncIdx>,
}

fn of_module<'a>(args: &Args, wasm: &'a [u8], rules: &Rules, global: &Global) -> Result<Listed<'a>> {
    let module = parse(wasm)?;
    let sidecar = args.sidecar.find_for_labels(args.input.as_deref(), wasm, global)?;
    let beside = sidecar.read(&module)?;
    let labels = label_with(&module, &beside);
    let plan = select(&module, &labels, rules);
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
    Ok(Listed::new(None, module, labels, plan, hooked))
}

fn of_component<'a>(args: &Args, wasm: &'a [u8], rules: &Rules, global: &Global) -> Result<Vec<Listed<'a>>> {
    if args.sidecar.is_given() {
        bail!("--source-map and --debug-file belong to a module: a component has several");
    }
    let options = Options { select: rules.clone(), ..Default::default() };
    let component::Contents { manifest, modules, warnings, .. } = component::read(wasm, &options)?;
    if manifest.is_some() {
        args.select.refuse_of_hooked()?;
    }
    global.warn("", &warnings);
    let listed = modules.into_iter().map(|core| {
        let hooked = injected::hooked(&core.module).or_else(|| manifest.is_some().then(Vec::new));
        // Of a module that gets no hooks, no function is hooked.
        let hooked = hooked.or_else(|| core.refused.map(|_| Vec::new()));
        global.warn(&format!("{}: ", core.name), &core.labels.warnings);
        Listed::new(Some(core.name), core.module, core.labels, core.plan, hooked)
    });
    Ok(listed.collect())
}

impl<'a> Listed<'a> {
    fn new(
        core_module: Option<String>,
        module: Module<'a>,
        labels: Labels,
        plan: Plan,
        hooked: Option<Vec<FuncIdx>>,
    ) -> Self {
        let (sizes, injected) = (sizes(&module), injected_functions(&module));
        Listed { core_module, module, labels, plan, sizes, hooked, injected }
    }

    fn rows<'l>(&'l self, rules: &'l Rules) -> impl Iterator<Item = Row<'l>> {
        let is_ours = |func: &FuncIdx| self.injected.binary_search(func).is_ok();
        self.labels.iter().filter(move |(func, _)| !is_ours(func)).map(|(func, label)| {
            let rule = self.hooked.is_none().then(|| match self.plan.reason(func) {
                Reason::Default => "default".to_owned(),
                Reason::Rule(place) => rules.text(place).unwrap_or_default().to_owned(),
                Reason::TooSmall => format!("--min-size {}", rules.min_size.unwrap_or_default()),
                Reason::Helper => "binding to the manual API".to_owned(),
                Reason::Imported => "imported".to_owned(),
            });
            let position = (func.0 as usize).checked_sub(self.module.imported_funcs().len());
            let size = position.map(|position| self.sizes[position].operators);
            let is_hooked = match &self.hooked {
                Some(hooked) => hooked.binary_search(&func).is_ok(),
                None => self.plan.contains(func),
            };
            Row { core_module: self.core_module.as_deref(), func, label, size, is_hooked, rule }
        })
    }

    /// The number of hooked functions, and of functions that can be hooked.
    fn hooked_count(&self) -> (usize, usize) {
        match &self.hooked {
            Some(hooked) => {
                let imports = hooked.iter().filter(|func| !self.module.is_defined(**func)).count();
                (hooked.len(), self.module.defined_funcs().len() - self.injected.len() + imports)
            }
            None => (self.plan.len(), self.plan.summary().functions),
        }
    }
}

/// A function in the list.
struct Row<'l> {
    core_module: Option<&'l str>,
    func: FuncIdx,
    label: &'l Label,
    /// In operators.
    size: Option<u32>,
    is_hooked: bool,
    rule: Option<String>,
}

fn to_json(row: Row<'_>) -> serde_json::Value {
    let Row { core_module, func, label, size, is_hooked, rule } = row;
    json!({
        "core_module": core_module,
        "index": func.0,
        "name": label.demangled(),
        "raw_name": &*label.name,
        "name_from": label.source.as_str(),
        "operators": size,
        "file": label.file.as_deref(),
        "line": label.line,
        "hooked": is_hooked,
        "rule": rule,
    })
}

fn print(row: &Row<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let Row { core_module, func, label, size, is_hooked, rule } = row;
    let size = size.map_or_else(|| "-".to_owned(), |s| s.to_string());
    let hooked = if *is_hooked { "yes" } else { "no" };
    write!(out, "{:>6} {size:>7} {hooked:<6} {:<6} ", func.0, label.source.as_str())?;
    if let Some(core_module) = core_module {
        write!(out, "{}!", printable(core_module))?;
    }
    write!(out, "{}", printable(&label.demangled()))?;
    if let Some(file) = &label.file {
        let line = label.line.map(|l| format!(":{l}")).unwrap_or_default();
        write!(out, "  {}{line}", printable(file))?;
    }
    if let Some(rule) = rule.as_ref().filter(|rule| *rule != "default") {
        write!(out, "  [{}]", printable(rule))?;
    }
    writeln!(out)
}
