//! Finds the types that hooks need in the module, or appends them.

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Encode, ValType};

use crate::module::Module;

/// The types of a module, and the types to append.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) before: usize,
    /// Types `[] -> results` with more than one result, by the encoded results.
    blocks: BTreeMap<Vec<u8>, u32>,
    /// Types of the imports `() -> ()` and `(i32) -> ()`. The host must have the same type, so the type must be final,
    /// without a supertype and alone in its recursion group.
    imports: [Option<u32>; 2],
    /// A type `() -> i32`.
    answer: Option<u32>,
    /// The types to append, encoded.
    pub(super) new: Vec<Vec<u8>>,
}

impl Types {
    pub(super) fn of(module: &Module<'_>) -> Self {
        let (before, blocks) = (module.types().len(), BTreeMap::new());
        let mut types = Types { before, blocks, imports: [None; 2], answer: None, new: Vec::new() };
        for (index, (ty, group)) in module.types().enumerate() {
            let composite = &ty.composite_type;
            let wasmparser::CompositeInnerType::Func(func) = &composite.inner else { continue };
            if composite.shared {
                continue;
            }
            if func.params().is_empty() && func.results().len() > 1 {
                types.blocks.entry(value_types(func.results())).or_insert(index as u32);
            }
            if func.params().is_empty() && func.results() == [wasmparser::ValType::I32] {
                types.answer.get_or_insert(index as u32);
            }
            let plain = group == 1
                && ty.is_final
                && ty.supertype_idx.is_none()
                && composite.describes_idx.is_none()
                && composite.descriptor_idx.is_none();
            if plain && func.results().is_empty() {
                match func.params() {
                    [] => _ = types.imports[0].get_or_insert(index as u32),
                    [wasmparser::ValType::I32] => _ = types.imports[1].get_or_insert(index as u32),
                    _ => {}
                }
            }
        }
        types
    }

    fn append(&mut self, ty: Vec<u8>) -> u32 {
        self.new.push(ty);
        (self.before + self.new.len() - 1) as u32
    }

    /// The type of an import `() -> ()` or `(i32) -> ()`.
    pub(super) fn import(&mut self, takes_i32: bool) -> u32 {
        let known = self.imports[takes_i32 as usize];
        let ty: &[u8] = if takes_i32 { &[0x60, 1, 0x7f, 0] } else { &[0x60, 0, 0] };
        let index = known.unwrap_or_else(|| self.append(ty.to_vec()));
        self.imports[takes_i32 as usize] = Some(index);
        index
    }

    /// A type `() -> i32`.
    pub(super) fn answer(&mut self) -> u32 {
        let index = self.answer.unwrap_or_else(|| self.append(vec![0x60, 0, 1, 0x7f]));
        self.answer = Some(index);
        index
    }

    /// The block type for `results`. No result and one result are encoded inline; more results need a type.
    pub(super) fn block(&mut self, results: &[wasmparser::ValType]) -> BlockType {
        match results {
            [] => BlockType::Empty,
            [result] => BlockType::Result(value_type(*result)),
            _ => {
                let results = value_types(results);
                let index = match self.blocks.get(&results) {
                    Some(index) => *index,
                    None => {
                        let mut ty = vec![0x60, 0];
                        ty.extend_from_slice(&results);
                        let index = self.append(ty);
                        self.blocks.insert(results, index);
                        index
                    }
                };
                BlockType::FunctionType(index)
            }
        }
    }
}

fn value_type(ty: wasmparser::ValType) -> ValType {
    ValType::try_from(ty).expect("validated: a value type of a module has an encoding")
}

/// Encodes `vec(value type)`.
fn value_types(types: &[wasmparser::ValType]) -> Vec<u8> {
    let mut out = Vec::new();
    types.len().encode(&mut out);
    types.iter().for_each(|ty| value_type(*ty).encode(&mut out));
    out
}
