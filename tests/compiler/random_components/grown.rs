//! Random components: a random number of definitions, each of which refers to earlier ones. Nearly all are valid, and
//! their functions return or trap when called.

use std::fmt::Write;

use arbtest::arbitrary::{Result, Unstructured};

/// The types of functions between components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Func {
    Number,
    Text,
    Nothing,
    Back,
}

const FUNCS: [Func; 4] = [Func::Number, Func::Text, Func::Nothing, Func::Back];

impl Func {
    fn text(self) -> &'static str {
        match self {
            Func::Number => r#"(param "n" u32) (result u32)"#,
            Func::Text => r#"(param "s" string) (result u32)"#,
            Func::Nothing => "",
            Func::Back => r#"(param "n" u32) (result string)"#,
        }
    }
}

/// A component that others may refer to.
#[derive(Debug, Clone)]
struct Component {
    id: usize,
    signature: Signature,
}

/// The functions that a component imports and exports.
#[derive(Debug, Clone, Default)]
struct Signature {
    imports: Vec<(String, Func)>,
    exports: Vec<(String, Func)>,
}

/// The definitions of one component that others may refer to, by the numbers of their identifiers.
#[derive(Debug, Default)]
struct Scope {
    /// Core modules, and whether they import a function.
    modules: Vec<(usize, bool)>,
    /// Core instances of these modules.
    instances: Vec<usize>,
    /// Core functions from a number to a number.
    core_funcs: Vec<usize>,
    funcs: Vec<(usize, Func)>,
    /// Types of functions.
    types: Vec<(usize, Func)>,
    components: Vec<Component>,
    /// What the component imports and exports so far.
    own: Signature,
}

/// Writes the text of a component.
pub(super) fn grown(u: &mut Unstructured<'_>) -> Result<String> {
    let mut growth = Growth { next: 0, text: String::new() };
    let is_named: bool = u.arbitrary()?;
    growth.text.push_str(if is_named { "(component $root\n" } else { "(component\n" });
    let steps = u.int_in_range(4..=24)?;
    growth.component(u, &mut Vec::new(), steps)?;
    growth.text.push(')');
    Ok(growth.text)
}

struct Growth {
    /// The number of the next identifier.
    next: usize,
    text: String,
}

impl Growth {
    fn id(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a string takes everything");
        self.text.push('\n');
    }

    /// Writes the definitions of a component. `outer` are the components around it, outermost first.
    fn component(&mut self, u: &mut Unstructured<'_>, outer: &mut Vec<Scope>, steps: usize) -> Result<Signature> {
        outer.push(Scope::default());
        for step in 0..steps {
            // The beginning of most components: a module and an instance of it.
            let what = if step < 3 && !u.ratio(1, 8)? { [0, 1, 3][step] } else { u.int_in_range(0..=19)? };
            match what {
                0 => self.module(u, outer)?,
                1 | 2 => self.core_instance(u, outer)?,
                3 | 4 => self.lift(u, outer)?,
                5 => self.lower(u, outer)?,
                6 => self.core_alias(u, outer)?,
                7 => self.types(u, outer)?,
                8 | 9 if outer.len() < 4 => self.nested(u, outer)?,
                10 | 11 => self.instance(u, outer)?,
                12 => self.bag(u, outer)?,
                13 | 14 => self.export(u, outer)?,
                15 => self.import(u, outer)?,
                16 => self.resource(u, outer)?,
                17 => self.leave(u, outer)?,
                18 => self.rare(u, outer)?,
                _ => self.outer_alias(u, outer)?,
            }
        }
        self.export(u, outer)?;
        Ok(outer.pop().expect("it was pushed").own)
    }

    fn module(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let (id, imports) = (self.id(), u.ratio(1, 3)?);
        self.say(format_args!("(core module $m{id}"));
        if imports {
            self.say(format_args!(r#"  (import "" "f" (func $imported (param i32) (result i32)))"#));
        }
        self.say(format_args!(r#"  (memory (export "memory") 1) (global $g (mut i32) (i32.const 1024))"#));
        let funcs = u.int_in_range(1..=4)?;
        for func in 0..funcs {
            let body = expression(u, func, imports, 4)?;
            let export = if u.ratio(1, 8)? { format!(r#"(export "f{func}")"#) } else { String::new() };
            self.say(format_args!(
                "  (func $f{func} {export} (param i32) (result i32) (local $n i32) (local.set $n (i32.const 3)) {body})"
            ));
        }
        let mut of = |depth| expression(u, funcs, imports, depth);
        let (go, len, alloc, post, run) = (of(3)?, of(3)?, of(1)?, of(2)?, of(2)?);
        let n = "(local $n i32) (local.set $n (i32.const 2))";
        self.say(format_args!(r#"  (func $go (export "go") (param i32) (result i32) {n} {go})"#));
        self.say(format_args!(r#"  (func (export "len") (param i32 i32) (result i32) {n} {len})"#));
        let bump = "(global.set $g (i32.add (global.get $g) (i32.and (local.get 3) (i32.const 4095)))) (global.get $g)";
        let bump = format!("(drop {alloc}) {bump}");
        self.say(format_args!(r#"  (func (export "alloc") (param i32 i32 i32 i32) (result i32) {n} {bump})"#));
        self.say(format_args!(r#"  (func (export "post") (param i32) {n} (drop {post}))"#));
        self.say(format_args!(r#"  (func $run (export "run") (local i32) {n} (drop {run}))"#));
        if u.ratio(1, 6)? {
            self.say(format_args!("  (start $run)"));
        }
        self.text.push_str(")\n");
        scope(outer).modules.push((id, imports));
        Ok(())
    }

    fn core_instance(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        // Modules of outer components too.
        let visible: Vec<(usize, bool)> = outer.iter().flat_map(|scope| scope.modules.iter().copied()).collect();
        let Some((module, imports)) = pick(u, &visible)? else { return Ok(()) };
        let mut with = String::new();
        if imports {
            let own = scope(outer);
            with = match (pick(u, &own.core_funcs)?, pick(u, &own.instances)?) {
                (Some(func), _) => format!(r#"(with "" (instance (export "f" (func $c{func}))))"#),
                (None, Some(instance)) => format!(r#"(with "" (instance (export "f" (func $i{instance} "go"))))"#),
                (None, None) => return Ok(()),
            };
        }
        let id = self.id();
        self.say(format_args!("(core instance $i{id} (instantiate $m{module} {with}))"));
        scope(outer).instances.push(id);
        Ok(())
    }

    fn core_alias(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let Some(instance) = pick(u, &scope(outer).instances)? else { return Ok(()) };
        let id = self.id();
        self.say(format_args!(r#"(alias core export $i{instance} "go" (core func $c{id}))"#));
        if u.ratio(1, 3)? {
            self.say(format_args!(r#"(alias core export $i{instance} "memory" (core memory $y{id}))"#));
            let list = format!(r#"(export "f" (func $c{id})) (export "memory" (memory $y{id}))"#);
            self.say(format_args!("(core instance $l{id} {list})"));
        }
        scope(outer).core_funcs.push(id);
        Ok(())
    }

    fn lift(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let Some(i) = pick(u, &scope(outer).instances)? else { return Ok(()) };
        let (id, ty) = (self.id(), *u.choose(&FUNCS)?);
        let visible = outer.iter().flat_map(|scope| &scope.types).filter(|(_, other)| *other == ty);
        let visible: Vec<usize> = visible.map(|(id, _)| *id).collect();
        let memory = format!(r#"(memory (core memory $i{i} "memory"))"#);
        let (core, mut options) = match ty {
            Func::Number => ("go", String::new()),
            Func::Text => ("len", format!(r#"{memory} (realloc (core func $i{i} "alloc"))"#)),
            Func::Nothing => ("run", String::new()),
            Func::Back => ("go", memory),
        };
        if matches!(ty, Func::Text | Func::Back) {
            options += ["", "string-encoding=utf16", "string-encoding=latin1+utf16"][u.int_in_range(0..=2)?];
        }
        if ty != Func::Nothing && u.arbitrary()? {
            write!(options, r#"(post-return (core func $i{i} "post"))"#).expect("a string takes everything");
        }
        let ty_text = match pick(u, &visible)?.filter(|_| u.arbitrary().unwrap_or(false)) {
            Some(named) => format!("(type $t{named})"),
            None => ty.text().to_owned(),
        };
        self.say(format_args!(r#"(func $u{id} {ty_text} (canon lift (core func $i{i} "{core}") {options}))"#));
        scope(outer).funcs.push((id, ty));
        Ok(())
    }

    fn lower(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let funcs: Vec<_> = scope(outer).funcs.iter().filter(|(_, ty)| *ty == Func::Number).copied().collect();
        let Some((func, _)) = pick(u, &funcs)? else { return Ok(()) };
        let id = self.id();
        self.say(format_args!("(core func $c{id} (canon lower (func $u{func})))"));
        scope(outer).core_funcs.push(id);
        Ok(())
    }

    fn types(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let (id, ty) = (self.id(), *u.choose(&FUNCS)?);
        self.say(format_args!("(type $t{id} (func {}))", ty.text()));
        let visible: Vec<_> = outer.iter().flat_map(|scope| scope.types.iter().copied()).collect();
        let other = pick(u, &visible)?.map_or(id, |(other, _)| other);
        match u.int_in_range(0..=6)? {
            0 => {
                self.say(format_args!(r#"(type $r{id} (record (field "a" u32) (field "b" string)))"#));
                self.say(format_args!(r#"(type $v{id} (variant (case "x" $r{id}) (case "y")))"#));
            }
            1 => self.say(format_args!(r#"(type (instance (export "f" (func (type $t{other})))))"#)),
            2 => {
                let inner = format!(r#"(type $z (instance (export "g" (func (type $t{id})))))"#);
                let inner = format!(r#"{inner} (export "i" (instance (type $z)))"#);
                self.say(format_args!(r#"(type (component (import "f" (func (type $t{other}))) {inner}))"#));
            }
            3 => {
                let module = format!(r#"(alias outer 1 $k{id} (type $s)) (import "" "f" (func (type $s)))"#);
                self.say(format_args!(r#"(core type $k{id} (func (param i32))) (core type (module {module}))"#));
            }
            4 => {
                self.say(format_args!(r#"(type $o{id} (option u8))"#));
                self.say(format_args!(r#"(type (result (tuple $o{id} char) (error (list $o{id}))))"#));
            }
            _ => {}
        }
        scope(outer).types.push((id, ty));
        Ok(())
    }

    fn nested(&mut self, u: &mut Unstructured<'_>, outer: &mut Vec<Scope>) -> Result<()> {
        let id = self.id();
        self.say(format_args!("(component $n{id}"));
        let steps = u.int_in_range(1..=10)?;
        let signature = self.component(u, outer, steps)?;
        self.text.push_str(")\n");
        scope(outer).components.push(Component { id, signature });
        Ok(())
    }

    fn instance(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let visible: Vec<Component> = outer.iter().flat_map(|scope| scope.components.iter().cloned()).collect();
        let Some(component) = pick(u, &visible)? else { return Ok(()) };
        let mut with = String::new();
        for (name, ty) in &component.signature.imports {
            let fitting: Vec<_> = scope(outer).funcs.iter().filter(|(_, own)| own == ty).copied().collect();
            let Some((func, _)) = pick(u, &fitting)? else { return Ok(()) };
            write!(with, r#" (with "{name}" (func $u{func}))"#).expect("a string takes everything");
        }
        let instance = self.id();
        self.say(format_args!("(instance $s{instance} (instantiate $n{}{with}))", component.id));
        for (name, ty) in component.signature.exports {
            if u.ratio(2, 3)? {
                let id = self.id();
                self.say(format_args!(r#"(alias export $s{instance} "{name}" (func $u{id}))"#));
                scope(outer).funcs.push((id, ty));
            }
        }
        Ok(())
    }

    /// An instance that is a list of exports.
    fn bag(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let Some((func, ty)) = pick(u, &scope(outer).funcs)? else { return Ok(()) };
        let (bag, id) = (self.id(), self.id());
        self.say(format_args!(r#"(instance $b{bag} (export "f" (func $u{func})))"#));
        self.say(format_args!(r#"(alias export $b{bag} "f" (func $u{id}))"#));
        if u.ratio(1, 3)? {
            self.say(format_args!(r#"(export "b:b/b{bag}" (instance $b{bag}))"#));
        }
        scope(outer).funcs.push((id, ty));
        Ok(())
    }

    fn export(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let Some((func, ty)) = pick(u, &scope(outer).funcs)? else { return Ok(()) };
        let id = self.id();
        let ascribed = if u.ratio(1, 4)? { format!("(func {})", ty.text()) } else { String::new() };
        self.say(format_args!(r#"(export $u{id} "e{id}" (func $u{func}) {ascribed})"#));
        scope(outer).funcs.push((id, ty));
        scope(outer).own.exports.push((format!("e{id}"), ty));
        Ok(())
    }

    fn import(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let (id, ty) = (self.id(), *u.choose(&FUNCS)?);
        if outer.len() == 1 && u.arbitrary()? {
            self.say(format_args!(r#"(import "a:a/a{id}" (instance $a{id} (export "f" (func {}))))"#, ty.text()));
            self.say(format_args!(r#"(alias export $a{id} "f" (func $u{id}))"#));
        } else {
            self.say(format_args!(r#"(import "i{id}" (func $u{id} {}))"#, ty.text()));
            scope(outer).own.imports.push((format!("i{id}"), ty));
        }
        scope(outer).funcs.push((id, ty));
        Ok(())
    }

    /// A resource, whose destructor is a core function.
    fn resource(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let Some(i) = pick(u, &scope(outer).instances)? else { return Ok(()) };
        let id = self.id();
        self.say(format_args!(r#"(type $p{id} (resource (rep i32) (dtor (core func $i{i} "post"))))"#));
        if outer.len() == 1 || u.arbitrary()? {
            self.say(format_args!(r#"(export $x{id} "x{id}" (type $p{id}))"#));
        } else {
            self.say(format_args!("(alias outer 0 $p{id} (type $x{id}))"));
        }
        self.say(format_args!("(core func $new{id} (canon resource.new $p{id}))"));
        self.say(format_args!("(core func $drop{id} (canon resource.drop $p{id}))"));
        self.say(format_args!(
            r#"(core module $w{id} (import "" "new" (func $new (param i32) (result i32)))
              (import "" "drop" (func $drop (param i32)))
              (func (export "go") (param i32) (result i32) (call $drop (call $new (local.get 0))) (local.get 0)))"#
        ));
        let list = format!(r#"(export "new" (func $new{id})) (export "drop" (func $drop{id}))"#);
        self.say(format_args!(r#"(core instance $w{id} (instantiate $w{id} (with "" (instance {list}))))"#));
        self.say(format_args!(r#"(func $u{id} {} (canon lift (core func $w{id} "go")))"#, Func::Number.text()));
        scope(outer).funcs.push((id, Func::Number));
        Ok(())
    }

    /// Exports a module or a component, or passes it to a component.
    fn leave(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let id = self.id();
        match (pick(u, &scope(outer).modules)?, pick(u, &scope(outer).components)?) {
            (Some((module, false)), _) if u.ratio(1, 3)? => {
                let import = r#"(import "m" (core module $m (export "go" (func (param i32) (result i32)))))"#;
                let lift = format!(r#"(func (export "f") {} (canon lift (core func $i "go")))"#, Func::Number.text());
                self.say(format_args!("(component $q{id} {import} (core instance $i (instantiate $m)) {lift})"));
                self.say(format_args!(r#"(instance $q{id} (instantiate $q{id} (with "m" (core module $m{module}))))"#));
                self.say(format_args!(r#"(alias export $q{id} "f" (func $u{id}))"#));
                scope(outer).funcs.push((id, Func::Number));
            }
            (Some((module, _)), _) if u.arbitrary()? => {
                self.say(format_args!(r#"(export "m{id}" (core module $m{module}))"#));
            }
            (_, Some(component)) => self.say(format_args!(r#"(export "n{id}" (component $n{}))"#, component.id)),
            _ => {}
        }
        Ok(())
    }

    fn rare(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let id = self.id();
        match (u.int_in_range(0..=9)?, pick(u, &scope(outer).instances)?) {
            (0, Some(i)) => self.say(format_args!(r#"(func (canon lift (core func $i{i} "run") async))"#)),
            (1, _) => {
                let start = scope(outer).funcs.iter().rev().find(|(_, ty)| *ty == Func::Nothing).copied();
                start.iter().for_each(|(func, _)| self.say(format_args!("(start $u{func})")));
            }
            (2, _) => self.say(format_args!("(core func $yield{id} (canon thread.yield))")),
            (3..=5, _) => self.say(format_args!(r#"(@custom "component-name" "\00\02\01a")"#)),
            _ => self.say(format_args!(r#"(@custom "c{id}" "\00")"#)),
        }
        Ok(())
    }

    fn outer_alias(&mut self, u: &mut Unstructured<'_>, outer: &mut [Scope]) -> Result<()> {
        let count = u.int_in_range(0..=outer.len() - 1)?;
        let from = &outer[outer.len() - 1 - count];
        let (module, component, ty) = (pick(u, &from.modules)?, pick(u, &from.components)?, pick(u, &from.types)?);
        let id = self.id();
        match (module, component, ty) {
            (Some((module, imports)), ..) if u.arbitrary()? => {
                self.say(format_args!("(alias outer {count} $m{module} (core module $m{id}))"));
                scope(outer).modules.push((id, imports));
            }
            (_, Some(component), _) if u.arbitrary()? => {
                self.say(format_args!("(alias outer {count} $n{} (component $n{id}))", component.id));
                scope(outer).components.push(Component { id, ..component });
            }
            (.., Some((ty, func))) => {
                self.say(format_args!("(alias outer {count} $t{ty} (type $t{id}))"));
                scope(outer).types.push((id, func));
            }
            _ => {}
        }
        Ok(())
    }
}

fn scope(outer: &mut [Scope]) -> &mut Scope {
    outer.last_mut().expect("there is one")
}

fn pick<T: Clone>(u: &mut Unstructured<'_>, all: &[T]) -> Result<Option<T>> {
    if all.is_empty() { Ok(None) } else { u.choose(all).cloned().map(Some) }
}

/// An expression of type `i32` in a function with a parameter or local 0 of type `i32`. It calls functions with a number
/// lower than `funcs`.
fn expression(u: &mut Unstructured<'_>, funcs: usize, imports: bool, depth: usize) -> Result<String> {
    if depth == 0 || u.is_empty() {
        return Ok(if u.arbitrary()? { "(local.get 0)" } else { "(i32.const 5)" }.to_owned());
    }
    let what = u.int_in_range(0..=14)?;
    let (is_rare, callee) = (u.ratio(1, 8)?, u.int_in_range(0..=funcs.saturating_sub(1))?);
    let mut of = || expression(u, funcs, imports, depth - 1);
    Ok(match what {
        0..=3 if funcs > 0 => {
            format!("(call $f{callee} {})", of()?)
        }
        4 if imports => format!("(call $imported {})", of()?),
        5 => format!("(i32.add {} {})", of()?, of()?),
        6 => format!("(i32.load (i32.and {} (i32.const 4095)))", of()?),
        7 => format!("(if (result i32) {} (then {}) (else {}))", of()?, of()?, of()?),
        8 => format!("(i32.div_u {} (i32.const 3))", of()?),
        // No loop is within another: they have the same counter.
        9 if depth == 3 => {
            let less = "(local.tee $n (i32.sub (i32.and (local.get $n) (i32.const 3)) (i32.const 1)))";
            format!("(block (result i32) (loop $l (drop {}) (br_if $l {less})) (i32.const 1))", of()?)
        }
        10 => format!("(memory.grow (i32.and {} (i32.const 1)))", of()?),
        11 if depth == 1 => "(i32.div_u (local.get 0) (local.get $n))".to_owned(),
        12 if depth == 1 => "(i32.load (local.get 0))".to_owned(),
        13 if depth == 1 && is_rare => "(unreachable)".to_owned(),
        _ => format!("(i32.sub {} (i32.const 1))", of()?),
    })
}
