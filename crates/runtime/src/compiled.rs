//! Machine code of a module or of a component.

use std::ops::Range;

use wasmtime::component::Component;
use wasmtime::{Module, ModuleFunction};

/// A compiled module, or a compiled component with all of its core modules. Both share their code with the engine.
#[derive(Debug, Clone)]
pub(super) enum Compiled {
    Module(Module),
    Component(Component),
}

impl Compiled {
    /// The machine code.
    pub(super) fn text(&self) -> &[u8] {
        match self {
            Compiled::Module(module) => module.text(),
            Compiled::Component(component) => component.text(),
        }
    }

    /// The addresses of the compiled image, which is an ELF file.
    pub(super) fn image_range(&self) -> Range<*const u8> {
        match self {
            Compiled::Module(module) => module.image_range(),
            Compiled::Component(component) => component.image_range(),
        }
    }

    /// The functions of all core modules, in no particular order.
    pub(super) fn functions(&self) -> Vec<CompiledFunction> {
        match self {
            Compiled::Module(module) => {
                module.functions().map(|f| CompiledFunction { module: 0, ..f.into() }).collect()
            }
            Compiled::Component(component) => component.functions().map(CompiledFunction::from).collect(),
        }
    }
}

/// The machine code of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CompiledFunction {
    /// The offset of its code in the machine code.
    pub(super) start: u32,
    /// The length of its code in bytes.
    pub(super) length: u32,
    /// Its core module: the position in the file. The engine's adapters between components have greater numbers.
    pub(super) module: u32,
    /// Its index in that module.
    pub(super) index: u32,
}

impl From<ModuleFunction> for CompiledFunction {
    fn from(function: ModuleFunction) -> Self {
        CompiledFunction {
            start: function.offset as u32,
            length: function.len as u32,
            module: function.module.as_u32(),
            index: function.index.as_u32(),
        }
    }
}
