// Leaves in three ways: no argument: returns; `panic`: panics deep inside
// (the program ends in an unreachable instruction); `exit N`: calls
// std::process::exit(N) deep inside.
use std::env;
use std::process;

enum End {
    Return,
    Panic,
    Exit(i32),
}

struct Guard<'a>(&'a mut u32);

impl<'a> Drop for Guard<'a> {
    #[inline(never)]
    fn drop(&mut self) {
        *self.0 += 1;
    }
}

#[inline(never)]
fn bottom(end: &End, seen: u32) -> u32 {
    match end {
        End::Return => seen,
        End::Panic => panic!("bottom reached with {}", seen),
        End::Exit(code) => {
            println!("exit {} at {}", code, seen);
            process::exit(*code)
        }
    }
}

#[inline(never)]
fn odd(end: &End, depth: u32, drops: &mut u32) -> u32 {
    let guard = Guard(drops);
    let r = if depth == 0 { bottom(end, 1) } else { even(end, depth - 1, guard.0) };
    r + 2
}

#[inline(never)]
fn even(end: &End, depth: u32, drops: &mut u32) -> u32 {
    let guard = Guard(drops);
    let r = if depth == 0 { bottom(end, 0) } else { odd(end, depth - 1, guard.0) };
    r + 1
}

#[inline(never)]
fn dive(end: &End, depth: u32) -> (u32, u32) {
    let mut drops = 0;
    let r = even(end, depth, &mut drops);
    (r, drops)
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let end = match args.first().map(String::as_str) {
        None => End::Return,
        Some("panic") => End::Panic,
        Some("exit") => End::Exit(args.get(1).and_then(|n| n.parse().ok()).unwrap_or(1)),
        Some(other) => {
            println!("what is {}?", other);
            process::exit(64);
        }
    };
    println!("dive");
    let (r, drops) = dive(&end, 12);
    println!("back {} {}", r, drops);
}
