//! Where a function comes from: the language's library, another package, or the program itself.
//!
//! Names do not prove an origin, so these are conventions of toolchains. A wrong guess hooks or excludes a function; it
//! never makes a module invalid.

use std::collections::HashSet;

use super::libraries::{GO_STD, LIBC, ZIG_STD};
use super::package::{Path, package};
use crate::label::Labels;
use crate::module::{Module, id};
use wasmtrace_abi::demangle::{is_rust, qualified};
use wasmtrace_abi::label::{Label, Source};

/// The origin of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The language's standard library and runtime, and the C library.
    Std,
    /// A package that the program depends on.
    Dependency,
    /// The program itself.
    App,
}

/// Facts about a whole module that help to find the origins of its functions.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// Crates and Go modules that the program depends on.
    dependencies: HashSet<String>,
    is_zig: bool,
}

impl Origins {
    /// Reads the paths of source files, and what compilers leave in the data: Rust the paths of files that may panic, Go
    /// the list of modules.
    pub(super) fn of(module: &Module<'_>, labels: &Labels) -> Self {
        let defined = labels.iter().filter(|(func, _)| module.is_defined(*func)).map(|(_, label)| label);
        let mut origins = Origins::of_labels(defined);
        if let Some(data) = module.section(id::DATA) {
            let data = &module.bytes()[data.contents.clone()];
            origins.dependencies.extend(rust_crates(data).chain(go_modules(data)));
        }
        origins
    }

    /// Reads the paths of source files only.
    pub(super) fn of_labels<'l>(labels: impl Iterator<Item = &'l Label>) -> Self {
        let mut origins = Origins::default();
        let mut own = HashSet::new();
        for label in labels {
            origins.is_zig |= label.language == Some("zig") || is_zig_name(&label.name);
            let Some(file) = label.file.as_deref() else { continue };
            let name = label.demangled();
            let Some(package) = package(&name) else { continue };
            match of_file(file) {
                Origin::Dependency => _ = origins.dependencies.insert(package.to_owned()),
                Origin::App => _ = own.insert(package.to_owned()),
                Origin::Std => {}
            }
        }
        // A namespace may have files in both.
        origins.dependencies.retain(|package| !own.contains(package));
        origins
    }

    /// The origin of a function, by the best evidence: a name that only the library has, then the file, then the name.
    pub(super) fn origin(&self, label: &Label, demangled: &str) -> Origin {
        let name = qualified(demangled);
        let package = package(demangled);
        if name.contains("::") && package.is_some_and(|package| is_std_package(package, label)) {
            return Origin::Std;
        }
        if STD_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Origin::Std;
        }
        if let Some(file) = label.file.as_deref() {
            return of_file(file);
        }
        if self.is_std_name(label, name, package) {
            return Origin::Std;
        }
        match package.is_some_and(|package| self.is_dependency(package)) {
            true => Origin::Dependency,
            false => Origin::App,
        }
    }

    /// Whether the package or one that it is part of is a dependency: `github.com/x/y/sub`.
    fn is_dependency(&self, package: &str) -> bool {
        let parents = package.match_indices('/').map(|(slash, _)| &package[..slash]);
        parents.chain([package]).any(|package| self.dependencies.contains(package))
    }

    fn is_std_name(&self, label: &Label, name: &str, package: Option<&str>) -> bool {
        // Go's standard packages have no dot in their first path segment; a program's own have a domain or are `main`.
        let first = package.map(|package| package.split('/').next().unwrap_or(package));
        let dotted = first.filter(|_| !name.contains("::"));
        if dotted.is_some_and(|first| GO_STD.binary_search(&first).is_ok() && label.language.is_none_or(|l| l == "go"))
        {
            return true;
        }
        if self.is_zig && dotted.is_some_and(|first| ZIG_STD.binary_search(&first).is_ok()) {
            return true;
        }
        // Names reserved for the implementation in C and C++ (ISO C, 7.1.3), except what compilers make of the program's
        // own `main` and of its static objects.
        if name.starts_with("__") {
            let own = ["__original_main", "__main_argc_argv", "__cxx_global_var_init", "__cxx_global_array_dtor"];
            return !own.iter().any(|own| name.starts_with(own));
        }
        if matches!(name, "_start" | "_initialize" | "_Exit" | "_Fork") || is_allocator(name) {
            return true;
        }
        LIBC.contains(name)
    }
}

/// Beginnings of names that only libraries have.
const STD_PREFIXES: [&str; 16] = [
    "~lib/", // AssemblyScript
    "compiler_rt.",
    "tinygo_",
    "interface:", // TinyGo's dispatch
    "emscripten_",
    "_emscripten_",
    "legalstub$",
    "legalfunc$",
    "dynCall_",
    "java.",
    "javax.",
    "jdk.",
    "org.teavm.",
    "kotlin.",
    "dart:",
    "moonbitlang/core/",
];

/// Crates and namespaces that belong to a language's library whatever file they are in.
fn is_std_package(package: &str, label: &Label) -> bool {
    const NAMESPACES: [&str; 3] = ["std", "__cxxabiv1", "__gnu_cxx"];
    const CRATES: [&str; 13] = [
        "core",
        "alloc",
        "proc_macro",
        "compiler_builtins",
        "dlmalloc",
        "hashbrown",
        "rustc_demangle",
        "gimli",
        "addr2line",
        "panic_abort",
        "panic_unwind",
        "__rustc",
        "wasi",
    ];
    // C++ programs have namespaces of their own that are called `core`.
    NAMESPACES.contains(&package) || CRATES.contains(&package) && language(label) != Some("c++")
}

/// The origin of a source file by its path.
fn of_file(file: &str) -> Origin {
    const STD: [&str; 42] = [
        "rustc",
        "rust/deps",
        "library/std",
        "library/core",
        "library/alloc",
        "library/compiler-builtins",
        "library/panic_abort",
        "library/panic_unwind",
        "library/backtrace",
        "library/portable-simd",
        "library/stdarch",
        "libc-top-half",
        "libc-bottom-half",
        "wasi-libc",
        "wasi-sdk",
        "wasi-sysroot",
        "musl",
        "libcxx",
        "libcxxabi",
        "libunwind",
        "compiler-rt",
        "compiler_rt",
        "compiler_rt.zig",
        "dlmalloc",
        "dlmalloc.c",
        "emmalloc.c",
        "include/c++",
        "c++/v1",
        "usr/include",
        "system/lib",
        "system/include",
        "lib/std",
        "lib/libc",
        "lib/compiler_rt",
        "usr/local/go/src",
        "usr/lib/go/src",
        "go/src/runtime",
        "tinygo/src",
        "tinygo/lib",
        "~lib",
        "src/lib/std",
        "org/teavm",
    ];
    const DEPENDENCIES: [&str; 13] = [
        "registry/src",
        "git/checkouts",
        "go/pkg/mod",
        "node_modules",
        "site-packages",
        "vendor",
        "third_party",
        "third-party",
        "thirdparty",
        "3rdparty",
        "_deps",
        "vcpkg_installed",
        "zig/p",
    ];
    if DEPENDENCIES.iter().any(|folder| has_folder(file, folder)) || has_version(file) {
        return Origin::Dependency;
    }
    match STD.iter().any(|folder| has_folder(file, folder)) || file.contains("/tinygo/goroot-") {
        true => Origin::Std,
        false => Origin::App,
    }
}

/// Whether these segments are somewhere in the path.
fn has_folder(file: &str, folder: &str) -> bool {
    file.match_indices(folder).any(|(at, _)| {
        let (before, after) = (&file[..at], &file[at + folder.len()..]);
        (before.is_empty() || before.ends_with(['/', '\\'])) && (after.is_empty() || after.starts_with(['/', '\\']))
    })
}

/// Whether a path has a segment with a version, as `go build -trimpath` writes modules: `github.com/x/y@v1.2.3/z.go`.
fn has_version(file: &str) -> bool {
    file.split_once("@v").is_some_and(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// Crates of a registry whose files the data names, as panic messages do: `registry/src/index.crates.io-…/serde-1.0.0/src/`.
fn rust_crates(data: &[u8]) -> impl Iterator<Item = String> {
    const FOLDER: &[u8] = b"registry/src/";
    after_each(data, FOLDER).filter_map(|rest| {
        let path = std::str::from_utf8(&rest[..rest.len().min(256)])
            .unwrap_or_else(|e| std::str::from_utf8(&rest[..e.valid_up_to()]).expect("valid up to there"));
        let folder = path.split('/').nth(1)?;
        let starts_version = |at: &usize| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        let dash = folder.match_indices('-').map(|(at, _)| at).find(starts_version)?;
        let (name, version) = (&folder[..dash], &folder[dash + 1..]);
        version.contains('.').then(|| name.replace('-', "_"))
    })
}

/// Modules that a Go program depends on. The linker puts a list into the data: `dep⇥path⇥version⇥hash`, a line each.
fn go_modules(data: &[u8]) -> impl Iterator<Item = String> {
    after_each(data, b"\ndep\t").filter_map(|rest| {
        let end = rest.iter().take(256).position(|byte| *byte == b'\t')?;
        std::str::from_utf8(&rest[..end]).ok().map(str::to_owned)
    })
}

/// What follows each occurrence of `wanted`.
fn after_each<'d>(data: &'d [u8], wanted: &'static [u8]) -> impl Iterator<Item = &'d [u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        loop {
            let at = rest.iter().position(|byte| *byte == wanted[0])?;
            rest = &rest[at..];
            match rest.strip_prefix(wanted) {
                Some(after) => {
                    rest = after;
                    return Some(after);
                }
                None => rest = &rest[1..],
            }
        }
    })
}

/// Names that only Zig's compiler makes.
fn is_zig_name(name: &str) -> bool {
    let is_anonymous = |(_, number): (&str, &str)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    name.rsplit_once("__anon_").is_some_and(is_anonymous)
        || ["start.wasm_freestanding_start", "debug.FullPanic(", "builtin.default_panic", "debug.defaultPanic"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// Whether a function belongs to the memory allocator.
pub(super) fn is_alloc(demangled: &str) -> bool {
    const PREFIXES: [&str; 13] = [
        "alloc::alloc::",
        "alloc::raw_vec::",
        "__rust_alloc",
        "__rust_dealloc",
        "__rust_realloc",
        "__rdl_",
        "__rg_",
        "__rustc::__rust_",
        "__rustc::__rdl_",
        "runtime.malloc",
        "runtime.(*mheap)",
        "runtime.(*mcache)",
        "runtime.(*mcentral)",
    ];
    let name = qualified(demangled);
    let path = Path::of(name).owner;
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
        || path.starts_with("dlmalloc::")
        || name.starts_with("~lib/rt/")
        || is_allocator(name)
}

/// Whether a name is one of a C or C++ allocator.
fn is_allocator(name: &str) -> bool {
    name.starts_with("operator new")
        || name.starts_with("operator delete")
        || matches!(
            name,
            "malloc"
                | "free"
                | "calloc"
                | "realloc"
                | "reallocarray"
                | "aligned_alloc"
                | "posix_memalign"
                | "memalign"
                | "sbrk"
                | "__sbrk"
                | "dlmalloc"
                | "dlfree"
                | "dlcalloc"
                | "dlrealloc"
                | "dlmemalign"
                | "dispose_chunk"
                | "prepend_alloc"
                | "tmalloc_small"
                | "tmalloc_large"
                | "sys_alloc"
                | "internal_memalign"
                | "emscripten_builtin_malloc"
                | "emscripten_builtin_free"
        )
}

/// The source language from DWARF, otherwise from the form of the name.
pub(super) fn language(label: &Label) -> Option<&'static str> {
    if label.language.is_some() {
        return label.language;
    }
    let name = &*label.name;
    if label.source == Source::Index {
        return None;
    }
    if is_rust(name) {
        return Some("rust");
    }
    if wasmtrace_abi::demangle::is_cpp(name) {
        return Some("c++");
    }
    if name.starts_with("~lib/") || name.starts_with("assembly/") || name.starts_with("start:") {
        return Some("assemblyscript");
    }
    if name.starts_with("runtime.") || name.starts_with("main.") || name.contains(".(*") {
        return Some("go");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(name: &str, file: Option<&str>, language: Option<&'static str>) -> Origin {
        let label = Label {
            name: name.into(),
            file: file.map(Into::into),
            line: None,
            source: Source::Dwarf,
            index: None,
            language,
        };
        Origins::default().origin(&label, &label.demangled())
    }

    #[test]
    fn a_name_with_a_dot_is_a_go_packages_only_if_the_language_allows() {
        let is = [None, Some("go"), Some("c")].map(|language| origin("log.part", None, language));
        assert_eq!(is, [Origin::Std, Origin::Std, Origin::App]);
    }

    #[test]
    fn a_files_path_tells_its_origin() {
        for (file, expected) in [
            ("/rustc/59807616/library/core/src/fmt/mod.rs", Origin::Std),
            ("library/core/src/fmt/mod.rs", Origin::Std),
            ("/rust/deps/dlmalloc-0.2.8/src/dlmalloc.rs", Origin::Std),
            ("wasi-libc/dlmalloc/src/malloc.c", Origin::Std),
            ("compiler-rt/lib/builtins/multi3.c", Origin::Std),
            ("/usr/include/c++/12/bits/stl_vector.h", Origin::Std),
            ("/opt/zig/lib/std/fmt.zig", Origin::Std),
            ("/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/serde-1.0.0/src/de.rs", Origin::Dependency),
            ("github.com/x/y@v1.2.3/z.go", Origin::Dependency),
            ("/root/go/pkg/mod/github.com/x/y@v1.2.3/z.go", Origin::Dependency),
            ("../third_party/zlib/inflate.c", Origin::Dependency),
            ("src/main.rs", Origin::App),
            ("src/mylib/std/x.rs", Origin::App),
            ("library/corelib/x.rs", Origin::App),
            ("mail@vienna/x.c", Origin::App),
        ] {
            assert_eq!(of_file(file), expected, "{file}");
        }
    }

    #[test]
    fn a_file_of_the_program_outweighs_a_name_that_a_library_has_too() {
        assert_eq!(origin("hash", None, None), Origin::App);
        assert_eq!(origin("send", None, None), Origin::Std);
        assert_eq!(origin("send", Some("src/mail.c"), Some("c")), Origin::App);
        assert_eq!(origin("core::fmt::write", Some("src/main.rs"), Some("rust")), Origin::Std);
    }

    #[test]
    fn data_names_dependencies() {
        let data = b"x/registry/src/index.crates.io-19/wasm-bindgen-0.2.92/src/lib.rs\0registry/src/a/b-c/src\0registry/src/\xff";
        assert_eq!(rust_crates(data).collect::<Vec<_>>(), ["wasm_bindgen"]);
        let data = b"path\tx\nmod\tx\t(devel)\t\ndep\tgithub.com/x/y\tv1.2.3\th1:=\ndep\tz";
        assert_eq!(go_modules(data).collect::<Vec<_>>(), ["github.com/x/y"]);
    }
}
