//! Lists the functions that have hooks in the output, and warns about the others.

use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::Probe;
use wasmtrace_abi::text::printable;

use super::body::LeftOut;
use super::code::Code;
use super::layout::Layout;
use crate::label::Labels;
use crate::module::{FuncIdx, Module, Site};
use crate::select::Plan;
use crate::warning::{Warned, Warning, WarningKind};

/// The hooked functions, by ascending id.
pub(super) fn probes(
    module: &Module<'_>,
    labels: &Labels,
    plan: &Plan,
    layout: &Layout,
    code: &Code<'_, '_>,
) -> Warned<Vec<Probe>> {
    let probe = |func: FuncIdx, id: u32| Probe { id: ProbeId(id), label: labels[func].clone() };
    let (mut probes, mut warnings) = (Vec::new(), Vec::new());
    for func in module.defined_funcs() {
        let left_out = code.left_out.get(&func);
        if let Some(left_out) = left_out {
            let lacks = Lacks::of(module, plan, layout, func);
            let message = lacks.sentence(left_out, &printable(&labels[func].name));
            warnings.push(Warning::new(WarningKind::NotHooked, message));
        }
        let has_hooks = !matches!(left_out, Some(LeftOut::TooLarge | LeftOut::NoLocal));
        if has_hooks && plan.contains(func) {
            probes.push(probe(func, layout.func_map.place(func.0)));
        }
    }
    probes.extend(plan.imports().map(|import| probe(import, layout.func_map.reference(import.0))));
    Warned { value: probes, warnings }
}

/// The hooks that a function should have but does not.
struct Lacks {
    hooks: bool,
    /// The function catches exceptions and should report that. Without the report, calls that an exception unwound
    /// stay open until the function's caller is left.
    catches: bool,
    /// The function has `unreachable`, before which all open calls should be exited.
    exits_all: bool,
}

impl Lacks {
    fn of(module: &Module<'_>, plan: &Plan, layout: &Layout, func: FuncIdx) -> Self {
        Lacks {
            hooks: plan.contains(func),
            catches: layout.catch_sites.contains_key(&func),
            exits_all: layout.exit_guard.is_some()
                && !module.is_shared(func)
                && module.sites(func).any(|(_, site)| site == Site::Unreachable),
        }
    }

    fn sentence(&self, left_out: &LeftOut, name: &str) -> String {
        let lost = match (self.hooks, self.catches) {
            (true, false) => "is not hooked",
            (true, true) => "is not hooked, and does not report caught exceptions",
            (false, _) => "does not report caught exceptions",
        };
        match left_out {
            LeftOut::TooLarge => {
                let lost = match (self.hooks || self.catches, self.exits_all) {
                    (true, false) => format!("{name} {lost}"),
                    (true, true) => format!("{name} {lost}, and does not exit open calls before `unreachable`"),
                    (false, true) => format!("{name} does not exit open calls before `unreachable`"),
                    (false, false) => format!("memory.grow in {name} is not reported"),
                };
                format!("{lost}: its body would exceed the size that engines accept")
            }
            LeftOut::NoLocal => format!("{name} {lost}: it has no room for the local of its hooks"),
            LeftOut::TooManyLocals => {
                format!("memory.grow in {name} is not reported: it has no room for another local")
            }
        }
    }
}
