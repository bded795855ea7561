//! A `wasi:cli` command. Arguments: words to sort, or one of the modes below.
//!
//!     (words)          sorts them, prints them with a count and a checksum
//!     recurse N        Ackermann's function of 2 and N, and fib(N)
//!     panic            panics five calls deep
//!     exit             exits with code 3 five calls deep
//!     work N           sorts N generated words

use std::collections::BTreeMap;

#[inline(never)]
fn checksum(words: &[String]) -> u32 {
    words.iter().fold(2166136261, |sum, word| word.bytes().fold(sum, mix))
}

#[inline(never)]
fn mix(sum: u32, byte: u8) -> u32 {
    (sum ^ u32::from(byte)).wrapping_mul(16777619)
}

#[inline(never)]
fn merge_sort(words: Vec<String>) -> Vec<String> {
    if words.len() < 2 {
        return words;
    }
    let mut left = words;
    let right = left.split_off(left.len() / 2);
    merge(merge_sort(left), merge_sort(right))
}

#[inline(never)]
fn merge(left: Vec<String>, right: Vec<String>) -> Vec<String> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        out.extend(if less(b, a) { right.next() } else { left.next() });
    }
    out.extend(left);
    out.extend(right);
    out
}

#[inline(never)]
fn less(a: &str, b: &str) -> bool {
    a < b
}

#[inline(never)]
fn letters(words: &[String]) -> BTreeMap<char, usize> {
    let mut count = BTreeMap::new();
    for letter in words.iter().flat_map(|word| word.chars()) {
        *count.entry(letter).or_default() += 1;
    }
    count
}

#[inline(never)]
fn ackermann(m: u32, n: u32) -> u32 {
    match (m, n) {
        (0, n) => n + 1,
        (m, 0) => ackermann(m - 1, 1),
        (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
    }
}

#[inline(never)]
fn fib(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fib(n - 1) + fib(n - 2) }
}

#[inline(never)]
fn descend(depth: u32, end: fn(u32) -> u32) -> u32 {
    if depth == 0 { end(depth) } else { descend(depth - 1, end) + 1 }
}

fn end_in_panic(depth: u32) -> u32 {
    panic!("asked to panic at depth {depth}")
}

fn end_in_exit(_: u32) -> u32 {
    println!("exit with code 3");
    std::process::exit(3)
}

fn generated(count: u32) -> Vec<String> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        state >> 24
    };
    (0..count).map(|_| format!("word{:03}{:03}", next(), next())).collect()
}

fn number(args: &[String]) -> u32 {
    args.get(1).and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("panic") => println!("{}", descend(5, end_in_panic)),
        Some("exit") => println!("{}", descend(5, end_in_exit)),
        Some("recurse") => {
            let n = number(&args);
            println!("ackermann(2, {n}) = {}", ackermann(2, n));
            println!("fib({n}) = {}", fib(n));
        }
        Some("work") => {
            let sorted = merge_sort(generated(number(&args)));
            println!("{} words, checksum {:08x}", sorted.len(), checksum(&sorted));
        }
        _ => {
            let sorted = merge_sort(args);
            println!("{}", sorted.join(" "));
            let letters: String = letters(&sorted).iter().map(|(l, n)| format!("{l}{n}")).collect();
            println!("{} words, letters {letters}, checksum {:08x}", sorted.len(), checksum(&sorted));
        }
    }
}
