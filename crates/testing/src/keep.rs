//! Modules for which a theorem fails, kept in the folder that `WASMTRACE_KEEP` names.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

thread_local!(static NAME: RefCell<Option<String>> = const { RefCell::new(None) });

/// Runs a test under a name. If a module fails in it, the module is kept under that name.
pub fn named<R>(name: &str, test: impl FnOnce() -> R) -> R {
    /// The name goes, however the test ends.
    struct Restore(Option<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            NAME.set(self.0.take());
        }
    }
    let _restore = Restore(NAME.replace(Some(name.to_owned())));
    test()
}

/// Runs a test of a module. If it panics and `WASMTRACE_KEEP` names a folder, the module is written there.
pub fn if_it_fails<R>(wasm: &[u8], test: impl FnOnce() -> R) -> R {
    let Some(folder) = std::env::var_os("WASMTRACE_KEEP") else { return test() };
    catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|panic| {
        let name = NAME.with_borrow(Option::clone).unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            wasm.hash(&mut hasher);
            format!("module_{:016x}", hasher.finish())
        });
        match write(Path::new(&folder), &name, wasm) {
            Ok(()) => eprintln!("the module is kept as {name}.wasm in {}", folder.display()),
            Err(e) => eprintln!("the module cannot be kept in {}: {e}", folder.display()),
        }
        resume_unwind(panic)
    })
}

fn write(folder: &Path, name: &str, wasm: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{name}.wasm")), wasm)?;
    // A module that cannot be printed may be what makes the theorem fail; a printer that panics is not what is tested.
    match catch_unwind(|| wasmprinter::print_bytes(wasm)) {
        Ok(Ok(text)) => std::fs::write(folder.join(format!("{name}.wat")), text),
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn a_module_is_kept_with_its_text_if_it_has_one() {
        let folder = std::env::temp_dir().join(format!("wasmtrace_keep_{}", std::process::id()));
        write(&folder, "whole", b"\0asm\x01\0\0\0").unwrap();
        write(&folder, "cut", b"\0asm\x01\0\0\0\x01").unwrap();
        let mut there: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        there.sort();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(there, ["cut.wasm", "whole.wasm", "whole.wat"]);
    }
}
