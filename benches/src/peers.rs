//! Other engines that rewrite modules: what doing nothing costs with them, and the same hooks written by wasm-encoder's re-encoder.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{BlockType, CodeSection, EntityType, ImportSection, Instruction, TypeSection};
use wasmparser::{FunctionBody, Operator};
use wasmtrace::module::Module;

/// Entry and exit hooks on every function, and nothing else: no names, no debug information, no way back. Functions of several
/// results are left as they are.
pub fn reencoded(module: &Module<'_>) -> Vec<u8> {
    let mut hooks = Hooks {
        imported: module.imported_funcs().len() as u32,
        types: 0,
        results: module.defined_funcs().map(|func| BlockOf::of(module.func_type(func).results())).collect(),
        next: 0,
    };
    let mut out = wasm_encoder::Module::new();
    let parser = wasmparser::Parser::new(0);
    hooks.parse_core_module(&mut out, parser, module.bytes()).expect("a valid module is encoded again");
    out.finish()
}

/// Decoded into an intermediate representation, and encoded again.
pub fn walrus(wasm: &[u8]) -> Vec<u8> {
    let mut config = walrus::ModuleConfig::new();
    config.generate_producers_section(false).strict_validate(false);
    config.parse(wasm).expect("a valid module").emit_wasm()
}

/// The same.
pub fn wirm(wasm: &[u8]) -> Vec<u8> {
    wirm::Module::parse(wasm, true, false).expect("a valid module").encode().expect("it is encoded again")
}

struct Hooks {
    imported: u32,
    /// How many types there are; the one behind them is `(i32) -> ()`.
    types: u32,
    results: Vec<Option<BlockOf>>,
    next: usize,
}

/// What a block around a body gives: nothing, or one value.
#[derive(Clone, Copy)]
struct BlockOf(Option<wasmparser::ValType>);

impl BlockOf {
    fn of(results: &[wasmparser::ValType]) -> Option<BlockOf> {
        match results {
            [] => Some(BlockOf(None)),
            [one] => Some(BlockOf(Some(*one))),
            _ => None,
        }
    }
}

impl Reencode for Hooks {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32, Error<Self::Error>> {
        Ok(if func < self.imported { func } else { func + 3 })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let groups = section.clone().into_iter().flatten();
        self.types = groups.map(|group| group.types().len() as u32).sum();
        utils::parse_type_section(self, types, section)?;
        types.ty().function([wasm_encoder::ValType::I32], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_import_section(self, imports, section)?;
        for name in ["enter", "exit", "memory-grow"] {
            imports.import("dylibso:observe/instrument", name, EntityType::Function(self.types));
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        func: FunctionBody<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let position = self.next;
        self.next += 1;
        let Some(BlockOf(result)) = self.results[position] else {
            return utils::parse_function_body(self, code, func);
        };
        let id = (self.imported + 3 + position as u32) as i32;
        let (enter, exit) = (self.imported, self.imported + 1);
        let mut out = self.new_function_with_parsed_locals(&func)?;
        out.instruction(&Instruction::I32Const(id)).instruction(&Instruction::Call(enter));
        let block = match result {
            Some(ty) => BlockType::Result(self.val_type(ty)?),
            None => BlockType::Empty,
        };
        out.instruction(&Instruction::Block(block));
        let mut operators = func.get_operators_reader()?;
        let mut depth = 0u32;
        while !operators.eof() {
            let operator = operators.read()?;
            match &operator {
                Operator::Return => {
                    out.instruction(&Instruction::Br(depth));
                    continue;
                }
                Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                    out.instruction(&Instruction::I32Const(id)).instruction(&Instruction::Call(exit));
                }
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => depth += 1,
                Operator::Delegate { .. } => depth -= 1,
                Operator::End if depth > 0 => depth -= 1,
                Operator::End => {
                    out.instruction(&Instruction::End);
                    out.instruction(&Instruction::I32Const(id)).instruction(&Instruction::Call(exit));
                }
                _ => {}
            }
            out.instruction(&self.instruction(operator)?);
        }
        code.function(&out);
        Ok(())
    }
}
