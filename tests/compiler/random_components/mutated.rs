//! Components that were changed: items, sections and core modules are copied, removed, exchanged or made anew. Many
//! stay valid.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arbtest::arbitrary::{Result, Unstructured};
use wasm_mutate::WasmMutate;
use wasm_smith::Config;

use super::tree::{Section, Tree, id, number};

/// How much work wasm-mutate may do for one module.
const FUEL: u64 = 100;

/// How many loops and calls a random core module may run through.
const STEPS: u32 = 500;

/// Random bytes without which wasm-smith may try for ever.
const LEAST: usize = 1 << 10;

/// Changes a component a few times over. Parts may come from `donor`. Returns the bytes.
pub(super) fn mutated(u: &mut Unstructured<'_>, mut tree: Tree, donor: &Tree, times: usize) -> Result<Vec<u8>> {
    for _ in 0..times {
        let at = u.int_in_range(0..=tree.components() - 1)?;
        match u.int_in_range(0..=9)? {
            0 if tree.components() < 8 => tree = wrapped(u, tree)?,
            1 => module(u, tree.component(at))?,
            2 | 3 => again(u, tree.component(at))?,
            4 => export(u, tree.component(at))?,
            5 | 6 => sections(u, tree.component(at), donor)?,
            7 => split(u, tree.component(at))?,
            8 => pad(u, tree.component(at))?,
            _ => items(u, tree.component(at))?,
        }
    }
    let width = if u.ratio(1, 8)? { u.int_in_range(1..=5)? } else { 1 };
    Ok(tree.encode(width))
}

/// A component that contains this one, and an instance of it.
fn wrapped(u: &mut Unstructured<'_>, tree: Tree) -> Result<Tree> {
    let instance = || Section::Items { id: id::INSTANCE, items: vec![vec![0, 0, 0]] };
    let mut sections = vec![Section::Component(tree)];
    sections.extend((0..u.int_in_range(0..=2)?).map(|_| instance()));
    Ok(Tree::new(sections))
}

/// A core module becomes another one.
fn module(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    let count = tree.definitions(true);
    let Some(last) = count.checked_sub(1) else { return Ok(()) };
    let at = u.int_in_range(0..=last)?;
    let modules = tree.sections.iter_mut().filter_map(|section| match section {
        Section::Module(bytes) => Some(bytes),
        _ => None,
    });
    let bytes = modules.into_iter().nth(at).expect("it was counted");
    if bytes.len() > 100_000 {
        return Ok(());
    }
    let other = match u.arbitrary()? {
        true => {
            let (seed, same) = (u.arbitrary()?, u.ratio(3, 4)?);
            catch_unwind(AssertUnwindSafe(|| by_mutate(bytes, seed, same))).ok().flatten()
        }
        false => catch_unwind(AssertUnwindSafe(|| by_smith(u, bytes))).ok().flatten(),
    };
    if let Some(other) = other {
        *bytes = other;
    }
    Ok(())
}

fn by_mutate(bytes: &[u8], seed: u64, preserve_semantics: bool) -> Option<Vec<u8>> {
    let mut mutate = WasmMutate::default();
    mutate.seed(seed).preserve_semantics(preserve_semantics).fuel(FUEL);
    mutate.run(bytes).ok()?.next()?.ok()
}

/// A module with the same imports and exports. Its calls end by themselves.
fn by_smith(u: &mut Unstructured<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    if u.len() < LEAST {
        return None;
    }
    let config = Config { module_shape: Some(bytes.to_vec()), ..config(u).ok()? };
    let mut module = wasm_smith::Module::new(config, u).ok()?;
    module.ensure_termination(STEPS).ok()?;
    Some(module.to_bytes())
}

fn config(u: &mut Unstructured<'_>) -> Result<Config> {
    Ok(Config {
        min_funcs: u.int_in_range(0..=4)?,
        max_funcs: 30,
        max_types: 20,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 1000,
        disallow_traps: u.ratio(1, 2)?,
        tail_call_enabled: u.arbitrary()?,
        exceptions_enabled: u.arbitrary()?,
        gc_enabled: u.ratio(1, 4)?,
        generate_custom_sections: u.arbitrary()?,
        allow_start_export: u.ratio(1, 4)?,
        ..Config::default()
    })
}

/// A component of wasm-smith, with instances of its core modules: wasm-smith makes none.
pub(super) fn by_smith_with_instances(u: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
    if u.len() < LEAST {
        return Ok(None);
    }
    let config = Config { max_imports: if u.ratio(3, 4)? { 0 } else { 4 }, ..config(u)? };
    let component = catch_unwind(AssertUnwindSafe(|| wasm_smith::Component::new(config, u)));
    let Ok(Ok(component)) = component else { return Ok(None) };
    let bytes = component.to_bytes();
    let Some(mut tree) = Tree::parse(&bytes) else { return Ok(Some(bytes)) };
    for at in 0..tree.components() {
        let tree = tree.component(at);
        let (mut instances, mut modules) = (Vec::new(), 0);
        for section in &tree.sections {
            if let Section::Module(bytes) = section {
                if no_imports(bytes) {
                    let mut item = vec![0];
                    number(modules, 1, &mut item);
                    item.push(0);
                    instances.push(item);
                }
                modules += 1;
            }
        }
        if !instances.is_empty() {
            tree.sections.push(Section::Items { id: id::CORE_INSTANCE, items: instances });
        }
    }
    for at in 0..tree.components() {
        let tree = tree.component(at);
        let items = (0..tree.definitions(false)).map(|component| {
            let mut item = vec![0];
            number(component, 1, &mut item);
            item.push(0);
            item
        });
        let items: Vec<_> = items.collect();
        if u.arbitrary()? {
            tree.sections.push(Section::Items { id: id::INSTANCE, items });
        }
    }
    let grown = tree.encode(1);
    Ok(Some(if super::is_valid(&grown) { grown } else { bytes }))
}

fn no_imports(module: &[u8]) -> bool {
    let mut payloads = wasmparser::Parser::new(0).parse_all(module);
    !payloads.any(|payload| payload.is_ok_and(|payload| matches!(payload, wasmparser::Payload::ImportSection(_))))
}

/// An item once more, at the end. What it refers to is there.
fn again(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    let lists = tree.sections.iter().filter_map(|section| match section {
        Section::Items { id, items } if !items.is_empty() => Some((*id, items)),
        _ => None,
    });
    let lists: Vec<_> = lists.collect();
    if lists.is_empty() {
        return Ok(());
    }
    let (id, items) = *u.choose(&lists)?;
    let mut item = u.choose(items)?.clone();
    if (10..=11).contains(&id) && item.len() > 2 && item[1] > 0 {
        // A name of its own.
        let end = usize::from(item[1]) + 1;
        if let Some(byte) = item.get_mut(end).filter(|byte| byte.is_ascii_alphanumeric()) {
            *byte = *u.choose(b"abcdefghijklmnopqrstuvwxyz0123456789")?;
        }
    }
    let to = if u.arbitrary()? { tree.sections.len() } else { u.int_in_range(0..=tree.sections.len())? };
    tree.sections.insert(to, Section::Items { id, items: vec![item] });
    Ok(())
}

/// Exports a definition, of any kind.
fn export(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    let kind: &[u8] = u.choose(&[&[0, 0x11][..], &[1], &[3], &[4], &[5]])?;
    let name = format!("z{}", u.int_in_range(0..=999)?);
    let mut item = vec![0, name.len() as u8];
    item.extend_from_slice(name.as_bytes());
    item.extend_from_slice(kind);
    item.extend([u.int_in_range(0..=6)?, 0]);
    tree.sections.push(Section::Items { id: id::EXPORT, items: vec![item] });
    Ok(())
}

/// A section more, less, or at another place.
fn sections(u: &mut Unstructured<'_>, tree: &mut Tree, donor: &Tree) -> Result<()> {
    let to = u.int_in_range(0..=tree.sections.len())?;
    let Some(last) = tree.sections.len().checked_sub(1) else { return Ok(()) };
    let at = u.int_in_range(0..=last)?;
    match u.int_in_range(0..=5)? {
        0 => drop(tree.sections.remove(at)),
        1 => tree.sections.swap(at, to.min(last)),
        2 => tree.sections.insert(to, tree.sections[at].clone()),
        3 if at < last => tree.sections.swap(at, at + 1),
        4 if !donor.sections.is_empty() => tree.sections.insert(to, u.choose(&donor.sections)?.clone()),
        _ => {
            let name: &[u8] = u.choose(&[&b"x"[..], b"component-name", b"name", b"producers"])?;
            let mut contents = vec![name.len() as u8];
            contents.extend_from_slice(name);
            contents.extend_from_slice(u.bytes(u.len().min(5))?);
            tree.sections.insert(to, Section::Other { id: id::CUSTOM, contents });
        }
    }
    Ok(())
}

/// Two sections from one, or one from two. The meaning is the same.
fn split(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    let Some(last) = tree.sections.len().checked_sub(1) else { return Ok(()) };
    let at = u.int_in_range(0..=last)?;
    let next = match tree.sections.get(at + 1) {
        Some(Section::Items { id, items }) => Some((*id, items.clone())),
        _ => None,
    };
    let Section::Items { id, items } = &mut tree.sections[at] else { return Ok(()) };
    let id = *id;
    match next.filter(|(other, _)| *other == id) {
        Some((_, next)) => {
            items.extend(next);
            tree.sections.remove(at + 1);
        }
        None => {
            let behind = items.split_off(u.int_in_range(0..=items.len())?);
            tree.sections.insert(at + 1, Section::Items { id, items: behind });
        }
    }
    Ok(())
}

/// A number of an item gets more bytes than it needs.
fn pad(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    let Some(item) = an_item(u, tree)? else { return Ok(()) };
    let at = u.int_in_range(0..=item.len() - 1)?;
    if item[at] < 0x80 {
        item[at] |= 0x80;
        item.insert(at + 1, 0);
    }
    Ok(())
}

/// An item more, less, or with another number in it.
fn items(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    match u.int_in_range(0..=3)? {
        0 => {
            let Some(last) = tree.sections.len().checked_sub(1) else { return Ok(()) };
            let at = u.int_in_range(0..=last)?;
            let Section::Items { items, .. } = &mut tree.sections[at] else { return Ok(()) };
            let Some(last) = items.len().checked_sub(1) else { return Ok(()) };
            let (one, other) = (u.int_in_range(0..=last)?, u.int_in_range(0..=last)?);
            match u.int_in_range(0..=2)? {
                0 => drop(items.remove(one)),
                1 => items.swap(one, other),
                _ => items.insert(one, items[other].clone()),
            }
        }
        _ => {
            let Some(item) = an_item(u, tree)? else { return Ok(()) };
            let at = u.int_in_range(0..=item.len() - 1)?;
            item[at] = match u.int_in_range(0..=3)? {
                0 => item[at].wrapping_add(1),
                1 => item[at].wrapping_sub(1),
                _ => u.int_in_range(0..=8)?,
            };
        }
    }
    Ok(())
}

fn an_item<'t>(u: &mut Unstructured<'_>, tree: &'t mut Tree) -> Result<Option<&'t mut Vec<u8>>> {
    let all = tree.sections.iter_mut().filter_map(|section| match section {
        Section::Items { items, .. } => Some(items.iter_mut().filter(|item| !item.is_empty())),
        _ => None,
    });
    let mut all: Vec<_> = all.flatten().collect();
    if all.is_empty() {
        return Ok(None);
    }
    let at = u.choose_index(all.len())?;
    Ok(Some(all.swap_remove(at)))
}
