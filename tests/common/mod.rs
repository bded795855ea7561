//! What test binaries have in common: the corpus, a host, and what is compared.
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod balance;
pub mod behaviour;
pub mod corpus;
pub mod host;
pub mod opinion;
pub mod process;
pub mod programs;
pub mod same;

#[allow(unused_imports, reason = "each test binary uses a part")]
pub use corpus::{Case, corpus, files, modules, programs, refused_shapes, shapes};

/// Runs a test for each case, and fails with the names of all that failed.
pub fn for_each(cases: Vec<Case>, test: impl Fn(&Case)) {
    for_each_named(&cases, |case| &case.name, test);
}

/// The same for anything that has a name.
pub fn for_each_named<C>(cases: &[C], name: impl Fn(&C) -> &str, test: impl Fn(&C)) {
    let failed: Vec<&str> = cases
        .iter()
        .filter(|case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(case))).is_err())
        .map(name)
        .collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}
