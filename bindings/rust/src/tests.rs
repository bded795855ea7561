use std::prelude::rust_2021::*;
use std::{format, panic, vec};

use super::*;

/// Writes the calls down, one list for each test's thread.
pub mod recorder {
    use std::prelude::rust_2021::*;
    use std::{cell::RefCell, format, thread_local};

    thread_local!(static CALLS: RefCell<Vec<String>> = RefCell::default());

    fn push(call: String) {
        CALLS.with(|calls| calls.borrow_mut().push(call));
    }

    pub fn taken() -> Vec<String> {
        CALLS.with(RefCell::take)
    }

    pub fn span_enter(name: &str) {
        push(format!("enter {name}"));
    }
    pub fn span_exit() {
        push("exit".into());
    }
    pub fn span_tags(tags: &str) {
        push(format!("tags {tags}"));
    }
    pub fn metric(line: &str) {
        push(format!("metric {line}"));
    }
    pub fn log(level: u32, message: &str) {
        push(format!("log {level} {message}"));
    }
}

use recorder::taken;

#[test]
fn guards_close_in_reverse_order() {
    {
        let _outer = span("outer").tag("try", 2);
        let inner = span("inner");
        drop(inner);
        let _next = span("next");
    }
    assert_eq!(taken(), ["enter outer", "tags try:2", "enter inner", "exit", "enter next", "exit", "exit"]);
}

#[test]
fn a_returned_guard_stays_open() {
    fn open() -> Span {
        span("page")
    }
    let page = open();
    info("work");
    drop(page);
    enter("raw");
    exit();
    assert_eq!(taken(), ["enter page", "log 3 work", "exit", "enter raw", "exit"]);
}

#[span]
fn half(text: &str) -> Result<i32, std::num::ParseIntError> {
    let n: i32 = text.parse()?;
    if n % 2 != 0 {
        return Ok(0);
    }
    debug("even");
    Ok(n / 2)
}

#[test]
fn every_way_out_closes_the_span_of_a_function() {
    half("x").unwrap_err();
    assert_eq!(taken(), ["enter half", "exit"]);
    assert_eq!(half("3"), Ok(0));
    assert_eq!(taken(), ["enter half", "exit"]);
    assert_eq!(half("4"), Ok(2));
    assert_eq!(taken(), ["enter half", "log 4 even", "exit"]);
}

#[test]
fn a_panic_closes_its_spans() {
    #[span("falls")]
    fn falls() {
        let _inner = span("inner");
        panic::resume_unwind(Box::new(()));
    }
    panic::catch_unwind(falls).unwrap_err();
    assert_eq!(taken(), ["enter falls", "enter inner", "exit", "exit"]);
}

mod shapes {
    use super::*;

    pub struct Shop<const N: usize>(pub [u32; N]);

    pub trait Total {
        #[span(name = "Total::double")]
        fn double(&self) -> u64 {
            self.total() * 2
        }
        fn total(&self) -> u64;
    }

    impl<const N: usize> Total for Shop<N> {
        /// Documented, and with attributes of its own.
        #[span(name = r#"Shop::total "all""#)]
        #[inline(never)]
        #[allow(clippy::let_and_return)]
        fn total(&self) -> u64 {
            #![allow(unused_variables)]
            //! The inner attributes come first.
            let unused = 1;
            let sum = self.0.iter().map(|&n| u64::from(n)).sum();
            sum
        }
    }

    // `_span` in the body is not the guard.
    #[span]
    #[allow(improper_ctypes_definitions, unused_braces)]
    pub(in crate::tests) unsafe extern "C" fn r#match<'a, T, F>(value: &'a T, f: F) -> [T; { 1 + 1 }]
    where
        T: Clone,
        F: for<'b> Fn(&'b T) -> T,
    {
        let _span = f(value);
        [value.clone(), _span]
    }

    #[span]
    pub fn numbers() -> impl Iterator<Item = u32> {
        0..3
    }

    macro_rules! make {
        ($(#[$attribute:meta])* $vis:vis fn $name:ident() -> $result:ty $body:block as $text:literal) => {
            $(#[$attribute])*
            #[span($text)]
            $vis fn $name() -> $result $body
        };
    }
    make!(#[must_use] pub fn made() -> u32 { 7 } as "from a macro");

    macro_rules! whole {
        ($item:item) => {
            #[span]
            $item
        };
    }
    whole!(
        pub fn passed() {}
    );
}

#[test]
fn functions_of_every_shape() {
    use shapes::*;
    assert_eq!(Shop([1, 2]).double(), 6);
    assert_eq!(taken(), ["enter Total::double", "enter Shop::total \"all\"", "exit", "exit"]);
    // SAFETY: it has no requirements
    assert_eq!(unsafe { r#match(&1, |n| n + 1) }, [1, 2]);
    assert_eq!(taken(), ["enter match", "exit"]);
    assert_eq!(numbers().count(), 3);
    assert_eq!(taken(), ["enter numbers", "exit"]);
    assert_eq!(made(), 7);
    passed();
    assert_eq!(taken(), ["enter from a macro", "exit", "enter passed", "exit"]);
}

#[test]
fn separators_are_replaced() {
    tag("a,b:c", "1,2:3");
    tags("as:is,it:is");
    count("a:b|c\nd", 1);
    gauge("load", 0.75);
    histogram("size", i64::MIN);
    timing("took", -1);
    metric("hits:1|c|@0.1");
    assert_eq!(
        taken(),
        [
            "tags a_b_c:1_2:3",
            "tags as:is,it:is",
            "metric a_b_c_d:1|c",
            "metric load:0.75|g",
            "metric size:-9223372036854775808|h",
            "metric took:-1|ms",
            "metric hits:1|c|@0.1",
        ]
    );
}

#[test]
fn long_lines_are_cut_at_a_whole_character() {
    let long = "é".repeat(MAX_LINE);
    tag("key", &long);
    tag(&long, "v");
    count(&long, &long);
    let calls = taken();
    assert_eq!(calls[0], format!("tags key:{}", "é".repeat((MAX_LINE - 4) / 2)));
    assert_eq!(calls[1], format!("tags {}:v", "é".repeat(MAX_LINE / 4)));
    assert!(calls[2].ends_with("|c") && calls[2].len() <= "metric ".len() + MAX_LINE);
}

#[test]
fn logs_have_the_levels_of_the_api() {
    error("e");
    warn("w");
    info("i");
    debug("d");
    trace("t");
    log(Level::Warn, "");
    assert_eq!(taken(), vec!["log 1 e", "log 2 w", "log 3 i", "log 4 d", "log 5 t", "log 2 "]);
}
