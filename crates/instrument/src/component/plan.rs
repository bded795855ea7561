//! Decides which core modules of a component get hooks, how they are entered and left, and where each component gets its
//! hook module.
//!
//! A hooked module has more imports, and a component that instantiates it imports the recorder. So neither may be visible
//! as a value outside of the component that defines it: it is then left as it is.

use std::collections::BTreeSet;

use wasmparser::Operator;

use super::definitions::{Definition, defined, defined_in, definitions};
use super::named::named_modules;
use super::scan::{CoreInstance, Nested, Scanned, Scope};
use super::spaces::Spaces;
use crate::label::{Labels, label};
use crate::module::{FuncIdx, Module};
use crate::options::Options;
use crate::rewrite::Crossings;
use crate::select::{self, Plan, select_in};
use crate::warning::{Warning, WarningKind};
use wasmtrace_abi::buffer::FUNCTIONS;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::HookSet;
use wasmtrace_abi::text::printable;

/// Modules by which tools connect others. They contain nothing of the program.
const CONNECTORS: [&str; 5] = [
    "wit-component:shim",
    "wit-component:fixups",
    "wit-component:stubs",
    "wit-component-shim-module",
    "wit-component-fixup",
];

/// Why modules are not hooked if the host could be called while an instance must not be left.
const LOUD: &str = "a `realloc` or `post-return` of its component cannot be hooked";

/// Whether a module only connects others.
fn is_connector(name: &str) -> bool {
    CONNECTORS.iter().any(|connector| {
        name.strip_prefix(connector).is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'#')))
    })
}

/// What happens to each module and component.
#[derive(Debug)]
pub(super) struct ComponentPlan<'a> {
    /// One for each module of the scan.
    pub(super) modules: Vec<PlannedModule<'a>>,
    /// One for each component of the scan.
    pub(super) scopes: Vec<PlannedScope>,
    pub(super) warnings: Vec<Warning>,
}

/// A core module, and the hooks that it gets.
#[derive(Debug)]
pub(super) struct PlannedModule<'a> {
    pub(super) module: Module<'a>,
    /// The name for people. Different from that of all other modules.
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) plan: Plan,
    /// How the module is entered and left. Each list is ascending.
    pub(super) crossings: Crossings,
    /// Whether a module of the same component uses exceptions, which may unwind calls of this one.
    pub(super) foreign_exceptions: bool,
    /// Whether the module gets hooks.
    pub(super) is_hooked: bool,
    /// The reason why the module must not get hooks.
    pub(super) refused: Option<&'static str>,
}

/// A component, and what is inserted into it.
#[derive(Debug, Default, Clone)]
pub(super) struct PlannedScope {
    /// The instances of hooked modules, in order.
    pub(super) sites: Vec<Site>,
    /// Where the recorder is imported; `None` if the component does not need it.
    pub(super) insertion: Option<Insertion>,
}

/// An instance of a hooked module.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// The index of the core instance in the input.
    pub(super) instance: u32,
    /// The position of the module.
    pub(super) module: usize,
    /// The number that is added to the module's ids.
    pub(super) first_probe: u32,
    /// The name for people.
    pub(super) name: String,
}

/// Where new definitions are inserted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Insertion {
    /// The section before which they are inserted.
    pub(super) section: usize,
    /// The index spaces there.
    pub(super) at: Spaces,
}

/// Decides what happens to each module and component.
///
/// # Errors
/// Those of [`parse_with`](crate::module::parse_with) for a core module. [`ErrorKind::AlreadyHooked`] if a core module has hooks.
/// [`ErrorKind::Limit`] if there are more functions than ids.
pub(super) fn plan<'a>(scanned: &Scanned<'a>, options: &Options) -> Result<ComponentPlan<'a>> {
    let fixed = fixed(scanned);
    let mut modules = modules(scanned, options)?;
    let mut warnings = unmatched_rules(&modules, options);
    for (at, module) in modules.iter_mut().enumerate() {
        module.refused = fixed.contains(&Nested::Module(at)).then_some("it is passed on as a module");
    }
    let instantiated: Vec<Vec<usize>> = scanned.scopes.iter().map(instantiated_modules).collect();
    for (at, own) in instantiated.iter().enumerate() {
        for module in own.iter().filter(|_| fixed.contains(&Nested::Component(at))) {
            modules[*module].refused.get_or_insert("its component is passed on as a component");
        }
    }
    let parsed: Vec<&Module<'_>> = modules.iter().map(|planned| &planned.module).collect();
    let quiet: Vec<_> = scanned.scopes.iter().map(|scope| definitions(scope, &parsed, &scope.quiet)).collect();
    let lifted: Vec<_> = scanned.scopes.iter().map(|scope| definitions(scope, &parsed, &scope.lifted)).collect();
    let loud: Vec<bool> = scanned.scopes.iter().map(|scope| has_loud_functions(scope, &parsed)).collect();
    for (own, _) in instantiated.iter().zip(loud).filter(|(_, is_loud)| *is_loud) {
        own.iter().for_each(|at| _ = modules[*at].refused.get_or_insert(LOUD));
    }
    refuse_without_quiet(&instantiated, &quiet, &mut modules);
    for ((own, quiet), lifted) in instantiated.iter().zip(&quiet).zip(lifted) {
        let is_selected = |at: &usize| modules[*at].refused.is_none() && !modules[*at].plan.is_empty();
        if own.iter().any(is_selected) {
            for (module, func) in quiet {
                modules[*module].crossings.quiet.push(*func);
            }
            for (module, func) in lifted {
                modules[module].crossings.lifted.push(func);
            }
        }
    }
    for own in &instantiated {
        if own.iter().any(|at| modules[*at].module.uses_exceptions()) {
            own.iter().for_each(|at| modules[*at].foreign_exceptions = true);
        }
    }
    let is_instantiated: BTreeSet<usize> = instantiated.iter().flatten().copied().collect();
    for (at, module) in modules.iter_mut().enumerate() {
        let Crossings { quiet, lifted, calls: _ } = &mut module.crossings;
        for funcs in [&mut *quiet, &mut *lifted] {
            funcs.sort_unstable();
            funcs.dedup();
        }
        let has_hooks = !module.plan.is_empty() || !quiet.is_empty() || !lifted.is_empty();
        module.is_hooked = has_hooks && module.refused.is_none() && is_instantiated.contains(&at);
        if let Some(refused) = module.refused.filter(|_| !module.plan.is_empty()) {
            let message = format!("module `{}` is not hooked: {refused}", printable(&module.name));
            warnings.push(Warning::new(WarningKind::NotHooked, message));
        }
    }
    let calls = calls(scanned, &modules);
    for (module, calls) in modules.iter_mut().zip(calls) {
        module.crossings.calls = calls.into_iter().collect();
    }
    let scopes = scopes(scanned, &modules)?;
    Ok(ComponentPlan { modules, scopes, warnings })
}

/// The modules and components that are visible as values: their types must not change.
fn fixed(scanned: &Scanned<'_>) -> Vec<Nested> {
    let components = |scope: &Scope<'_>| -> Vec<usize> {
        scope.instantiated.iter().filter_map(|(_, component)| scope.components[*component as usize]).collect()
    };
    // The components that may run, or that somebody outside may see.
    let mut reachable = vec![false; scanned.scopes.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if !std::mem::replace(&mut reachable[at], true) {
            let scope = &scanned.scopes[at];
            todo.extend(components(scope));
            todo.extend(scope.exported.iter().chain(&scope.passed).filter_map(|nested| match nested {
                Nested::Component(component) => Some(*component),
                Nested::Module(_) => None,
            }));
        }
    }
    // If a component is never instantiated, its exports are not visible.
    let exported = scanned.scopes.iter().zip(&reachable).filter(|(_, reachable)| **reachable);
    let exported = exported.flat_map(|(scope, _)| &scope.exported);
    let mut todo: Vec<Nested> =
        exported.chain(scanned.scopes.iter().flat_map(|scope| &scope.passed)).copied().collect();
    let mut fixed = Vec::new();
    let mut seen = (vec![false; scanned.modules.len()], vec![false; scanned.scopes.len()]);
    while let Some(nested) = todo.pop() {
        let seen = match nested {
            Nested::Module(at) => &mut seen.0[at],
            Nested::Component(at) => &mut seen.1[at],
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        fixed.push(nested);
        // A component whose imports are fixed has no recorder to pass on.
        if let Nested::Component(at) = nested {
            todo.extend(components(&scanned.scopes[at]).into_iter().map(Nested::Component));
        }
    }
    fixed
}

/// Parses, labels and selects in each module.
fn modules<'a>(scanned: &Scanned<'a>, options: &Options) -> Result<Vec<PlannedModule<'a>>> {
    let all = named_modules(scanned, !options.no_validate)?.into_iter().map(|(at, name, module)| {
        if crate::injected::is_hooked(&module) {
            let message = "a core module of this component is hooked already: instrument the original";
            return Err(Error::at(ErrorKind::AlreadyHooked, scanned.modules[at].range.start, message));
        }
        let labels = label(&module);
        let plan = match is_connector(&name) {
            true => Plan::default(),
            false => select_in(&module, &labels, &options.select, &name),
        };
        Ok(PlannedModule {
            module,
            name,
            labels,
            plan,
            crossings: Crossings::default(),
            foreign_exceptions: false,
            is_hooked: false,
            refused: None,
        })
    });
    all.collect()
}

/// One warning for each rule that matches no function of any module.
fn unmatched_rules(modules: &[PlannedModule<'_>], options: &Options) -> Vec<Warning> {
    let mut all = modules.iter().filter(|module| !is_connector(&module.name));
    let Some(first) = all.next() else { return Vec::new() };
    let mut unmatched: BTreeSet<usize> = first.plan.unmatched.iter().copied().collect();
    all.for_each(|module| unmatched.retain(|rule| module.plan.unmatched.contains(rule)));
    unmatched.into_iter().filter_map(|rule| select::unmatched_rule(&options.select, rule)).collect()
}

/// The modules of the core instances of a component, by position.
fn instantiated_modules(scope: &Scope<'_>) -> Vec<usize> {
    let module = |instance: &CoreInstance<'_>| match instance {
        CoreInstance::Of { module, .. } => scope.modules[*module as usize],
        CoreInstance::Exports(_) => None,
    };
    scope.core_instances.iter().filter_map(module).collect()
}

/// For each module, the imported functions that leave an instance: all but those that lead to a hooked module, which
/// reports its own calls.
fn calls(scanned: &Scanned<'_>, modules: &[PlannedModule<'_>]) -> Vec<BTreeSet<FuncIdx>> {
    let parsed: Vec<&Module<'_>> = modules.iter().map(|planned| &planned.module).collect();
    let mut calls = vec![BTreeSet::new(); modules.len()];
    for scope in &scanned.scopes {
        for instance in &scope.core_instances {
            let CoreInstance::Of { module, args } = instance else { continue };
            let Some(at) = scope.modules[*module as usize].filter(|at| modules[*at].is_hooked) else { continue };
            for (func, import) in (0..).map(FuncIdx).zip(parsed[at].imported_funcs()) {
                let argument = args.iter().find(|(name, _)| *name == import.module);
                let leaves =
                    argument.is_none_or(|(_, instance)| match defined_in(scope, &parsed, (*instance, import.name)) {
                        Definition::Here(module, _) => !modules[module].is_hooked,
                        Definition::Host { leaves } => leaves,
                        Definition::Unknown => true,
                    });
                if leaves {
                    calls[at].insert(func);
                }
            }
        }
    }
    calls
}

/// Whether an instance of the component calls a function, while it must not be left, that cannot be quiet: it is not in
/// this file, or a tail call of it goes on after its exit.
fn has_loud_functions(scope: &Scope<'_>, modules: &[&Module<'_>]) -> bool {
    scope.quiet.iter().any(|func| match defined(scope, modules, *func) {
        Definition::Here(module, func) => has_tail_call(modules[module], func),
        Definition::Host { .. } => false,
        Definition::Unknown => true,
    })
}

fn has_tail_call(module: &Module<'_>, func: FuncIdx) -> bool {
    let operators = module.body_reader(func).get_operators_reader().expect("validated: locals can be read");
    operators.into_iter().any(|operator| {
        let operator = operator.expect("validated: operators can be read");
        matches!(
            operator,
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. }
        )
    })
}

/// If a quiet function cannot get hooks, no module of its component may have them: the hook module would call the host
/// during that function.
fn refuse_without_quiet(
    instantiated: &[Vec<usize>],
    quiet: &[Vec<(usize, FuncIdx)>],
    modules: &mut [PlannedModule<'_>],
) {
    loop {
        let mut changed = false;
        for (own, quiet) in instantiated.iter().zip(quiet) {
            if quiet.iter().any(|(module, _)| modules[*module].refused.is_some()) {
                for module in own.iter().filter(|module| modules[**module].refused.is_none()).collect::<Vec<_>>() {
                    modules[*module].refused = Some(LOUD);
                    changed = true;
                }
            }
        }
        if !changed {
            return;
        }
    }
}

/// The sites and the insertion of each component.
fn scopes(scanned: &Scanned<'_>, modules: &[PlannedModule<'_>]) -> Result<Vec<PlannedScope>> {
    let mut first_probe = 0u32;
    let mut instances = vec![0; modules.len()];
    let mut scopes = vec![PlannedScope::default(); scanned.scopes.len()];
    for (scope, planned) in scanned.scopes.iter().zip(&mut scopes) {
        for (instance, core) in scope.core_instances.iter().enumerate() {
            let CoreInstance::Of { module, .. } = core else { continue };
            let Some(module) = scope.modules[*module as usize].filter(|at| modules[*at].is_hooked) else { continue };
            instances[module] += 1;
            let name = match instances[module] {
                1 => modules[module].name.clone(),
                number => format!("{}@{number}", modules[module].name),
            };
            planned.sites.push(Site { instance: instance as u32, module, first_probe, name });
            let PlannedModule { module: original, plan, crossings, .. } = &modules[module];
            let trampolines: BTreeSet<FuncIdx> = plan.imports().chain(crossings.calls.iter().copied()).collect();
            let ids = original.func_count() + (HookSet::Component.imports().len() + trampolines.len()) as u32;
            first_probe = first_probe.checked_add(ids).filter(|next| *next < FUNCTIONS).ok_or_else(|| {
                Error::new(ErrorKind::Limit, "the component has more functions than hooks can tell apart")
            })?;
        }
    }
    let mut needs: Vec<bool> = scopes.iter().map(|planned| !planned.sites.is_empty()).collect();
    let instantiates = |scope: &Scope<'_>, needs: &[bool]| -> Option<u32> {
        let needing = |(_, component): &&(u32, u32)| scope.components[*component as usize].is_some_and(|at| needs[at]);
        scope.instantiated.iter().find(needing).map(|(instance, _)| *instance)
    };
    loop {
        let more: Vec<usize> =
            (0..needs.len()).filter(|at| !needs[*at] && instantiates(&scanned.scopes[*at], &needs).is_some()).collect();
        if more.is_empty() {
            break;
        }
        more.into_iter().for_each(|at| needs[at] = true);
    }
    for (scope, planned) in scanned.scopes.iter().zip(&mut scopes) {
        let core = planned.sites.first().map(|site| site.instance);
        let instance = instantiates(scope, &needs);
        // The last section before which there are at most as many instances.
        let section_of =
            |is_before: &dyn Fn(&Spaces) -> bool| scope.sections.iter().rposition(|section| is_before(&section.before));
        let core = core.and_then(|core| section_of(&|before| before.core_instances <= core));
        let instance = instance.and_then(|instance| section_of(&|before| before.instances <= instance));
        let section = core.into_iter().chain(instance).min();
        planned.insertion = section.map(|section| Insertion { section, at: scope.sections[section].before });
    }
    Ok(scopes)
}
