//! Short paths of source files: what a build machine puts before the part that tells files apart is left out.
//!
//! ```text
//! /rustc/<hash>/library/core/src/fmt/mod.rs           → std/core/src/fmt/mod.rs
//! /home/a/.cargo/registry/src/<index>/memchr-2.7.4/…  → memchr-2.7.4/…
//! /usr/lib/zig/lib/std/start.zig                      → std/start.zig
//! /usr/local/go/src/fmt/print.go                      → fmt/print.go
//! /root/go/pkg/mod/golang.org/x/text@v0.3.0/doc.go    → golang.org/x/text@v0.3.0/doc.go
//! /build/llvm/libcxxabi/src/cxa_guard.cpp             → libcxxabi/src/cxa_guard.cpp
//! ```
//!
//! Go's own `-trimpath` writes its paths in this form.

use std::borrow::Cow;

/// Folders of C and C++ runtime libraries, at which a path can begin.
const RUNTIMES: [&str; 6] = ["libcxx", "libcxxabi", "libunwind", "compiler-rt", "libc-top-half", "libc-bottom-half"];

/// The short form of a path. A path that has none is returned as it is.
pub(super) fn source_path(path: &str) -> Cow<'_, str> {
    let rules = [rust_std, rust_package, zig_std, go, cpp_headers, runtime_library];
    rules.into_iter().find_map(|rule| rule(path)).unwrap_or(Cow::Borrowed(path))
}

/// What follows these folders in the path.
fn after<'p>(path: &'p str, folders: &str) -> Option<&'p str> {
    let (before, rest) = path.split_once(folders)?;
    (before.is_empty() || before.ends_with('/') || folders.starts_with('/')).then_some(rest)
}

fn rust_std(path: &str) -> Option<Cow<'_, str>> {
    let rest = match path.strip_prefix("/rustc/") {
        Some(rest) => rest.split_once('/')?.1.strip_prefix("library/")?,
        None => after(path, "rust/library/")?,
    };
    Some(Cow::Owned(format!("std/{rest}")))
}

/// A package from a registry or a Git repository.
fn rust_package(path: &str) -> Option<Cow<'_, str>> {
    if let Some(rest) = after(path, "registry/src/") {
        return rest.split_once('/').filter(|(_, rest)| rest.contains('/')).map(|(_, rest)| Cow::Borrowed(rest));
    }
    // `git/checkouts/<name>-<hash>/<revision>/…`
    let (folder, rest) = after(path, "git/checkouts/")?.split_once('/')?;
    let (name, _) = folder.rsplit_once('-')?;
    Some(Cow::Owned(format!("{name}/{}", rest.split_once('/')?.1)))
}

fn zig_std(path: &str) -> Option<Cow<'_, str>> {
    let rest = after(path, "lib/std/").filter(|rest| rest.ends_with(".zig"))?;
    Some(Cow::Owned(format!("std/{rest}")))
}

fn go(path: &str) -> Option<Cow<'_, str>> {
    if !path.ends_with(".go") {
        return None;
    }
    if let Some(rest) = after(path, "pkg/mod/") {
        return Some(Cow::Borrowed(rest));
    }
    // The folder of the toolchain: `go`, `go1.24.1`, `tinygo`.
    let is_toolchain = |folder: &str| matches!(folder, "go" | "tinygo") || folder.starts_with("go1.");
    let mut from = 0;
    while let Some(at) = path[from..].find("/src/").map(|at| at + from) {
        if path[..at].rsplit('/').next().is_some_and(is_toolchain) {
            return Some(Cow::Borrowed(&path[at + "/src/".len()..]));
        }
        from = at + 1;
    }
    None
}

fn cpp_headers(path: &str) -> Option<Cow<'_, str>> {
    let rest = after(path, "include/c++/v1/")?;
    Some(Cow::Owned(format!("c++/{rest}")))
}

fn runtime_library(path: &str) -> Option<Cow<'_, str>> {
    let at = path.match_indices('/').map(|(at, _)| at + 1).find(|at| {
        let folder = path[*at..].split_once('/').map(|(folder, _)| folder);
        folder.is_some_and(|folder| RUNTIMES.contains(&folder))
    });
    at.map(|at| Cow::Borrowed(&path[at..]))
}

#[cfg(test)]
mod tests {
    use super::source_path;

    #[test]
    fn what_a_build_machine_adds_is_left_out() {
        for (path, short) in [
            ("/rustc/01f6ddf7588f42ae2d7eb0a2f21d44e8e96674cf/library/core/src/fmt/mod.rs", "std/core/src/fmt/mod.rs"),
            ("/opt/rust/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs", "std/alloc/src/vec/mod.rs"),
            ("rust/library/alloc/src/string.rs", "std/alloc/src/string.rs"),
            (
                "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/memchr-2.7.4/src/lib.rs",
                "memchr-2.7.4/src/lib.rs",
            ),
            (
                "/root/.cargo/git/checkouts/wasm-tools-9a3f/12ab34c/crates/wast/src/lib.rs",
                "wasm-tools/crates/wast/src/lib.rs",
            ),
            ("py/ziglang/lib/std/start.zig", "std/start.zig"),
            ("lib/std/start.zig", "std/start.zig"),
            ("/usr/local/go/src/runtime/proc.go", "runtime/proc.go"),
            ("/usr/lib/go1.24.1/src/fmt/print.go", "fmt/print.go"),
            ("/usr/local/lib/tinygo/src/runtime/arch.go", "runtime/arch.go"),
            ("/root/go/pkg/mod/golang.org/x/text@v0.3.0/doc.go", "golang.org/x/text@v0.3.0/doc.go"),
            ("/opt/wasi-sdk/share/include/c++/v1/__vector/vector.h", "c++/__vector/vector.h"),
            ("/build/llvm-22.1.8/libcxxabi/src/cxa_guard.cpp", "libcxxabi/src/cxa_guard.cpp"),
        ] {
            assert_eq!(source_path(path), short, "{path}");
        }
    }

    #[test]
    fn other_paths_stay() {
        for path in [
            "/rustc/hash/compiler/rustc_x/lib.rs",
            "src/main.rs",
            "/home/a/src/main.go",
            "mylib/std/io.c",
            "xlib/std/start.zig",
            "/registry/src/only",
            "libcxx.cpp",
            "~lib/rt/tlsf.ts",
            "",
        ] {
            assert_eq!(source_path(path), path);
        }
    }
}
