// Reads text on standard input, counts its words and prints the commonest
// ones, the longest one and the mean length of a line.
use std::collections::BTreeMap;
use std::io::{self, BufRead};

struct Counter {
    words: BTreeMap<String, usize>,
    lines: usize,
    bytes: usize,
}

impl Counter {
    fn new() -> Counter {
        Counter { words: BTreeMap::new(), lines: 0, bytes: 0 }
    }

    #[inline(never)]
    fn add_word(&mut self, word: &str) {
        let lower: String = word.chars().flat_map(char::to_lowercase).collect();
        *self.words.entry(lower).or_insert(0) += 1;
    }

    #[inline(never)]
    fn add_line(&mut self, line: &str) {
        self.lines += 1;
        self.bytes += line.len();
        for word in line.split(|c: char| !c.is_alphanumeric()) {
            if !word.is_empty() {
                self.add_word(word);
            }
        }
    }

    #[inline(never)]
    fn commonest(&self, n: usize) -> Vec<(&str, usize)> {
        let mut all: Vec<(&str, usize)> = self.words.iter().map(|(w, c)| (w.as_str(), *c)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(n);
        all
    }
}

#[inline(never)]
fn longest<'a>(words: impl Iterator<Item = &'a String>) -> &'a str {
    let mut best = "";
    for w in words {
        if w.chars().count() > best.chars().count() {
            best = w;
        }
    }
    best
}

fn main() {
    let mut counter = Counter::new();
    for line in io::stdin().lock().lines() {
        match line {
            Ok(line) => counter.add_line(&line),
            Err(e) => {
                println!("unreadable: {}", e);
                std::process::exit(2);
            }
        }
    }
    for (word, count) in counter.commonest(8) {
        println!("{:4} {}", count, word);
    }
    println!("longest {}", longest(counter.words.keys()));
    println!("{} words in {} lines, {} bytes", counter.words.len(), counter.lines, counter.bytes);
    if counter.lines > 0 {
        println!("mean {}", counter.bytes / counter.lines);
    }
}
