//! Predefined groups of functions, identified by name and file.
//!
//! Names do not prove the origin of a function, so these are conventions of toolchains, for each language. A wrong
//! guess hooks or excludes a function; it never makes a module invalid.

use crate::module::Size;
use wasmtrace_abi::demangle::is_rust;
use wasmtrace_abi::label::{Label, Source};

/// A group of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Neither `@std` nor `@alloc`.
    User,
    /// The language's standard library and runtime.
    Std,
    /// The memory allocator.
    Alloc,
    /// Exported functions.
    Exports,
    /// Imported functions.
    Imports,
    /// Functions of at most 12 operators without a loop.
    Tiny,
    /// Functions that call nothing.
    Leaf,
}

/// Maximum number of operators of `@tiny`: fits a getter with its bounds check, but not an allocation or a loop.
const TINY: u32 = 12;

impl Group {
    /// The names of all groups in rules.
    pub const NAMES: [&str; 7] = ["@user", "@std", "@alloc", "@exports", "@imports", "@tiny", "@leaf"];

    pub(super) fn from_name(name: &str) -> Option<Group> {
        Some(match name.strip_prefix('@').unwrap_or(name) {
            "user" => Group::User,
            "std" => Group::Std,
            "alloc" => Group::Alloc,
            "exports" => Group::Exports,
            "imports" => Group::Imports,
            "tiny" => Group::Tiny,
            "leaf" => Group::Leaf,
            _ => return None,
        })
    }

    /// Whether a function is in the group, for groups that depend on its label and size. `@exports` and `@imports`
    /// depend on the module.
    pub(super) fn contains<'d>(self, label: &Label, demangled: impl FnOnce() -> &'d str, size: Option<Size>) -> bool {
        match self {
            Group::User => {
                let name = demangled();
                !is_std(label, name) && !is_alloc(name)
            }
            Group::Std => is_std(label, demangled()),
            Group::Alloc => is_alloc(demangled()),
            Group::Exports | Group::Imports => false,
            Group::Tiny => size.is_some_and(|s| s.operators <= TINY && !s.has_loop),
            Group::Leaf => size.is_some_and(|s| !s.has_call),
        }
    }
}

/// The crate, namespace or package at the beginning of a name.
pub(super) fn package(name: &str) -> Option<&str> {
    // `<a::T as b::U>::f` begins with a.
    let path = name.trim_start_matches(['<', '&', '*', '[', '(']).trim_start_matches("mut ").trim_start_matches("dyn ");
    if let Some((first, _)) = path.split_once("::") {
        return Some(first);
    }
    // Go: everything up to the first dot after the last slash.
    let slash = name.rfind('/').map_or(0, |s| s + 1);
    let dot = name[slash..].find('.')?;
    Some(&name[..slash + dot]).filter(|p| !p.is_empty())
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
    if name.starts_with("_Z") || (name.contains("::") && name.ends_with(')')) {
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

fn is_std(label: &Label, name: &str) -> bool {
    let file = label.file.as_deref().unwrap_or("");
    let from_library = [
        "/rustc/",
        "/library/std/",
        "/library/core/",
        "/library/alloc/",
        "libc-top-half",
        "libc-bottom-half",
        "wasi-libc",
        "/musl/",
        "/libcxx",
        "libcxxabi",
        "compiler-rt",
        "compiler_rt",
        "lib/std/",
    ];
    if from_library.iter().any(|part| file.contains(part)) {
        return true;
    }
    let path = name.trim_start_matches(['<', '&', '*', '[', '(']).trim_start_matches("mut ").trim_start_matches("dyn ");
    let rust_or_cpp = [
        "std::",
        "core::",
        "alloc::",
        "compiler_builtins::",
        "hashbrown::",
        "dlmalloc::",
        "wasi::",
        "rustc_demangle::",
        "gimli::",
        "addr2line::",
        "panic_abort::",
        "panic_unwind::",
        "__cxxabiv1::",
        "__gnu_cxx::",
    ];
    if rust_or_cpp.iter().any(|p| path.starts_with(p)) {
        return true;
    }
    if name.starts_with("~lib/") || name.starts_with("compiler_rt.") {
        return true;
    }
    // Go's standard packages have no dot in their first path segment; a program's own have a domain or are `main`.
    let looks_go = package(name).is_some_and(|p| {
        !name.contains("::") && !p.starts_with("main") && !p.split('/').next().unwrap_or(p).contains('.')
    });
    if looks_go
        && label.language.is_none_or(|l| l == "go")
        && GO_STD.contains(&package(name).unwrap_or("").split('/').next().unwrap_or(""))
    {
        return true;
    }
    // Names reserved for the implementation in C and C++ (ISO C, 7.1.3), and internal names of wasi-libc.
    if name.starts_with("__") || matches!(name, "_start" | "_initialize" | "_Exit" | "_Fork") {
        return true;
    }
    LIBC.binary_search(&name).is_ok()
}

/// First segments of the standard packages of Go.
const GO_STD: [&str; 45] = [
    "abi",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "unsafe",
];

/// Functions that C programs call but do not define, sorted.
const LIBC: [&str; 104] = [
    "abort",
    "abs",
    "atexit",
    "atof",
    "atoi",
    "atol",
    "bsearch",
    "clearerr",
    "clock",
    "close",
    "closedir",
    "copysignl",
    "dummy",
    "exit",
    "fclose",
    "fcntl",
    "fdopen",
    "ferror",
    "fflush",
    "fgetc",
    "fgets",
    "fileno",
    "fmod",
    "fmodl",
    "fopen",
    "fprintf",
    "fputc",
    "fputs",
    "fread",
    "frexp",
    "frexpl",
    "fseek",
    "fstat",
    "ftell",
    "fwrite",
    "getc",
    "getcwd",
    "getenv",
    "getint",
    "isatty",
    "isdigit",
    "isspace",
    "ldexp",
    "localeconv",
    "log",
    "longjmp",
    "lseek",
    "mbrtowc",
    "mbsinit",
    "mbstowcs",
    "memchr",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "nl_langinfo",
    "open",
    "openat",
    "opendir",
    "out",
    "pad",
    "perror",
    "pop_arg",
    "pow",
    "printf",
    "printf_core",
    "putc",
    "putchar",
    "puts",
    "qsort",
    "rand",
    "read",
    "readdir",
    "remove",
    "rename",
    "scalbn",
    "scalbnl",
    "setjmp",
    "setlocale",
    "setvbuf",
    "snprintf",
    "sprintf",
    "srand",
    "stpcpy",
    "strcat",
    "strchr",
    "strchrnul",
    "strcmp",
    "strcpy",
    "strcspn",
    "strerror",
    "strlen",
    "strncmp",
    "strncpy",
    "strnlen",
    "strrchr",
    "strtod",
    "strtol",
    "strtoul",
    "time",
    "vfprintf",
    "wctomb",
    "write",
    "writev",
];

fn is_alloc(name: &str) -> bool {
    let allocators = [
        "dlmalloc::",
        "alloc::alloc::",
        "alloc::raw_vec::",
        "<alloc::raw_vec::",
        "<dlmalloc::",
        "__rust_alloc",
        "__rust_dealloc",
        "__rust_realloc",
        "__rdl_",
        "__rg_",
        "__rustc::__rust_",
        "__rustc::__rdl_",
        "operator new",
        "operator delete",
        "runtime.malloc",
        "runtime.(*mheap)",
        "runtime.(*mcache)",
        "runtime.(*mcentral)",
        "~lib/rt/",
    ];
    allocators.iter().any(|p| name.starts_with(p))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(LIBC.is_sorted() && GO_STD.is_sorted());
    }

    #[test]
    fn a_package_is_what_a_path_begins_with() {
        assert_eq!(package("<serde_json::Value as core::fmt::Debug>::fmt"), Some("serde_json"));
        assert_eq!(package("encoding/json.(*Decoder).Decode"), Some("encoding/json"));
        assert_eq!(package("main"), None);
    }

    #[test]
    fn a_name_with_a_dot_is_a_go_packages_only_if_the_language_allows() {
        let label =
            |language| Label { name: "log.part".into(), file: None, line: None, source: Source::Dwarf, language };
        let is = [None, Some("go"), Some("c")].map(|language| is_std(&label(language), "log.part"));
        assert_eq!(is, [true, true, false]);
    }
}
