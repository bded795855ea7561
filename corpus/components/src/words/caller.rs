//! A `wasi:cli` command that keeps the words of its arguments in a resource of the imported interface `dictionary`.
//! The argument `work=N` adds N generated words.

wit_bindgen::generate!({ path: "words.wit", world: "caller" });

use corpus::words::dictionary::{Case, Dictionary, decorate};

#[inline(never)]
fn add(dictionary: &Dictionary, word: &str) -> bool {
    match dictionary.add(word) {
        Ok(count) => count > 1,
        Err(text) => {
            eprintln!("refused: {text}");
            false
        }
    }
}

#[inline(never)]
fn generated(dictionary: &Dictionary, count: u32) -> u32 {
    let mut state = 1u32;
    let mut twice = 0;
    for _ in 0..count {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        twice += u32::from(add(dictionary, &format!("word{:03}", state >> 24)));
    }
    twice
}

#[inline(never)]
fn show(dictionary: &Dictionary) {
    for entry in dictionary.entries().iter().take(10) {
        println!("{} {}", decorate(&entry.word, Case::Title), entry.count);
    }
    if let Some(word) = dictionary.longest() {
        println!("longest: {}", decorate(&word, Case::Upper));
    }
}

fn main() {
    let dictionary = Dictionary::new("dictionary");
    for word in std::env::args().skip(1) {
        match word.strip_prefix("work=").and_then(|count| count.parse().ok()) {
            Some(count) => println!("{} words were there", generated(&dictionary, count)),
            None => drop(add(&dictionary, &word)),
        }
    }
    show(&dictionary);
}
