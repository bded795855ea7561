//! What rustc says of code in DWARF, in one small program without the standard library: generic functions that are inlined or
//! not, closures, trait objects, iterators, matches, recursion, checked arithmetic.
#![no_std]
#![no_main]

use core::hint::black_box;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

trait Shape {
    fn area(&self) -> i32;
    fn twice(&self) -> i32 {
        self.area().wrapping_mul(2)
    }
}

struct Square(i32);
struct Rectangle {
    width: i32,
    height: i32,
}

impl Shape for Square {
    fn area(&self) -> i32 {
        self.0.wrapping_mul(self.0)
    }
}

impl Shape for Rectangle {
    fn area(&self) -> i32 {
        self.width.wrapping_mul(self.height)
    }

    fn twice(&self) -> i32 {
        let area = self.area();
        if area > 100 { area } else { area + area }
    }
}

enum Way {
    Straight,
    Left(i32),
    Right { by: i32 },
}

#[inline(always)]
fn inlined<T: Into<i32>>(value: T) -> i32 {
    let value = value.into();
    value.wrapping_add(1)
}

#[inline(never)]
fn recursive(n: i32) -> i32 {
    if n < 2 { n } else { recursive(n - 1).wrapping_add(recursive(n - 2)) }
}

#[inline(never)]
fn applied(f: impl Fn(i32) -> i32, times: i32) -> i32 {
    (0..times).map(f).fold(0, i32::wrapping_add)
}

fn turned(way: Way) -> i32 {
    match way {
        Way::Straight => 0,
        Way::Left(by) => -by,
        Way::Right { by } if by > 5 => 5,
        Way::Right { by } => by,
    }
}

#[no_mangle]
pub extern "C" fn run() -> i32 {
    let shapes: [&dyn Shape; 2] = black_box([&Square(7), &Rectangle { width: 3, height: 4 }]);
    let mut sum = shapes.iter().map(|shape| shape.twice()).sum::<i32>();
    let by = black_box(3);
    sum += applied(|i| i * by + inlined(7u16), 5);
    sum += recursive(black_box(9));
    for way in [Way::Straight, Way::Left(by), Way::Right { by: by * 3 }] {
        sum += turned(black_box(way));
    }
    sum
}

#[inline(never)]
fn divide(by: i32) -> i32 {
    100 / by
}

#[no_mangle]
pub extern "C" fn trap() -> i32 {
    recursive(4) + divide(black_box(0))
}
