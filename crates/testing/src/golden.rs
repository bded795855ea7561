//! Golden files: the expected results that tests compare with. `BLESS=1` rewrites them.

use std::path::Path;

/// Whether golden files are to be written instead of compared.
pub fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

/// Settings for insta: snapshots are in this folder of `tests/snapshots`, under the name that the assertion gives.
pub fn snapshots(folder: &str) -> insta::Settings {
    tell_the_libraries();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// Makes insta and trycmd write golden files if `BLESS=1` is set. Each reads a variable of its own at its first
/// comparison, so call this before.
pub fn tell_the_libraries() {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if blessing() {
        #[expect(
            unsafe_code,
            reason = "neither library has a function for it, and no test comes here without BLESS=1"
        )]
        TOLD.call_once(|| unsafe {
            std::env::set_var("INSTA_UPDATE", "always");
            std::env::set_var("TRYCMD", "overwrite");
        });
    }
}

/// Compares the part of a document between the lines `begin` and `end` with a generated text.
pub fn assert_part(document: &str, begin: &str, end: &str, generated: &str) {
    let path = root().join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(&format!("{begin}\n")).unwrap_or_else(|| panic!("{document} has no {begin}"));
    let (shown, tail) = rest.split_once(end).unwrap_or_else(|| panic!("{document} has no {end}"));
    if shown == generated {
        return;
    }
    assert!(blessing(), "{document} differs from what BLESS=1 would write:\n{generated}");
    std::fs::write(path, format!("{head}{begin}\n{generated}{end}{tail}")).unwrap();
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
