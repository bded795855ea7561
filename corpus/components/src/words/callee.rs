//! A component that exports the interface `dictionary`: functions that take and return strings, and a resource.
//! With the feature `trapping` it panics for the word "trap", several calls deep.

wit_bindgen::generate!({ path: "words.wit", world: "callee" });

use exports::corpus::words::dictionary::{Case, Entry, Guest, GuestDictionary};
use std::cell::RefCell;

struct Callee;

struct Dictionary {
    name: String,
    root: RefCell<Option<Box<Node>>>,
}

struct Node {
    word: String,
    count: u32,
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
}

#[inline(never)]
fn insert(place: &mut Option<Box<Node>>, word: String) -> u32 {
    match place {
        None => {
            *place = Some(Box::new(Node { word: checked(word), count: 1, left: None, right: None }));
            1
        }
        Some(node) if word == node.word => {
            node.count += 1;
            node.count
        }
        Some(node) if word < node.word => insert(&mut node.left, word),
        Some(node) => insert(&mut node.right, word),
    }
}

#[inline(never)]
fn checked(word: String) -> String {
    #[cfg(feature = "trapping")]
    assert!(word != "trap", "the word trap");
    word
}

#[inline(never)]
fn walk(node: &Option<Box<Node>>, visit: &mut dyn FnMut(&Node)) {
    if let Some(node) = node {
        walk(&node.left, visit);
        visit(node);
        walk(&node.right, visit);
    }
}

#[inline(never)]
fn upper(word: &str, letters: usize) -> String {
    word.chars()
        .enumerate()
        .map(|(at, letter)| if at < letters { letter.to_ascii_uppercase() } else { letter })
        .collect()
}

impl Guest for Callee {
    type Dictionary = Dictionary;

    fn decorate(word: String, style: Case) -> String {
        match style {
            Case::Upper => upper(&word, usize::MAX),
            Case::Title => upper(&word, 1),
        }
    }
}

impl GuestDictionary for Dictionary {
    fn new(name: String) -> Self {
        Self { name, root: RefCell::new(None) }
    }

    fn add(&self, word: String) -> Result<u32, String> {
        if word.is_empty() {
            return Err(format!("{} takes no empty word", self.name));
        }
        Ok(insert(&mut self.root.borrow_mut(), word))
    }

    fn longest(&self) -> Option<String> {
        let mut found: Option<String> = None;
        walk(&self.root.borrow(), &mut |node| {
            if found.as_ref().is_none_or(|longest| longest.len() < node.word.len()) {
                found = Some(node.word.clone());
            }
        });
        found
    }

    fn entries(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        walk(&self.root.borrow(), &mut |node| found.push(Entry { word: node.word.clone(), count: node.count }));
        found
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        eprintln!("{} closed", self.name);
    }
}

export!(Callee);
