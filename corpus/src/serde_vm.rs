// A stack machine whose program travels as JSON: enums, trait objects,
// closures, generics and serde_json in one small program.
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Debug, Clone, PartialEq)]
enum Op {
    Push(i64),
    Add,
    Mul,
    Dup,
}

#[derive(Debug)]
#[allow(dead_code)] // read by Debug only
enum Fault {
    Underflow { at: usize },
    Unknown(String),
}

struct Vm {
    stack: Vec<i64>,
    steps: usize,
}

impl Vm {
    fn new() -> Self {
        Vm { stack: Vec::new(), steps: 0 }
    }

    fn step(&mut self, op: &Op) -> Result<(), Fault> {
        self.steps += 1;
        match op {
            Op::Push(n) => self.stack.push(*n),
            Op::Dup => {
                let top = *self.stack.last().ok_or(Fault::Underflow { at: self.steps })?;
                self.stack.push(top);
            }
            Op::Add => self.binary(|a, b| a.wrapping_add(b))?,
            Op::Mul => self.binary(|a, b| a.wrapping_mul(b) % 1_000_003)?,
        }
        Ok(())
    }

    fn binary<F: Fn(i64, i64) -> i64>(&mut self, f: F) -> Result<(), Fault> {
        let b = self.pop()?;
        let a = self.pop()?;
        self.stack.push(f(a, b));
        Ok(())
    }

    #[inline(never)]
    fn pop(&mut self) -> Result<i64, Fault> {
        self.stack.pop().ok_or(Fault::Underflow { at: self.steps })
    }
}

trait Shape {
    fn name(&self) -> String;
    fn area(&self) -> u64;
}

struct Square(u64);
struct Rect<T> {
    w: T,
    h: T,
}

impl Shape for Square {
    fn name(&self) -> String {
        format!("square {}", self.0)
    }
    fn area(&self) -> u64 {
        self.0 * self.0
    }
}

impl<T: Copy + Into<u64> + Debug> Shape for Rect<T> {
    fn name(&self) -> String {
        format!("rect {:?}x{:?}", self.w, self.h)
    }
    fn area(&self) -> u64 {
        self.w.into() * self.h.into()
    }
}

#[inline(never)]
fn largest<'a, K: Ord, I: Iterator<Item = &'a dyn Shape>>(
    shapes: I,
    key: &dyn Fn(&dyn Shape) -> K,
) -> Option<&'a dyn Shape> {
    let mut best: Option<&dyn Shape> = None;
    for shape in shapes {
        if best.map_or(true, |b| key(shape) > key(b)) {
            best = Some(shape);
        }
    }
    best
}

fn sum(v: &Value) -> i64 {
    match v {
        Value::Number(n) => n.as_i64().unwrap_or(0),
        Value::Array(a) => a.iter().map(sum).sum(),
        Value::Object(o) => o.values().map(sum).sum(),
        _ => 0,
    }
}

fn encode(op: &Op) -> Value {
    match op {
        Op::Push(n) => json!({ "push": n }),
        Op::Add => json!("add"),
        Op::Mul => json!("mul"),
        Op::Dup => json!("dup"),
    }
}

fn decode(v: &Value) -> Result<Op, Fault> {
    match (v.as_str(), v.get("push").and_then(Value::as_i64)) {
        (_, Some(n)) => Ok(Op::Push(n)),
        (Some("add"), _) => Ok(Op::Add),
        (Some("mul"), _) => Ok(Op::Mul),
        (Some("dup"), _) => Ok(Op::Dup),
        _ => Err(Fault::Unknown(v.to_string())),
    }
}

fn main() {
    let mut program = vec![Op::Push(3)];
    for i in 0..40 {
        program.extend([Op::Dup, Op::Mul, Op::Push(i), Op::Add]);
    }
    let text = Value::Array(program.iter().map(encode).collect()).to_string();
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let back: Result<Vec<Op>, Fault> = parsed.as_array().unwrap().iter().map(decode).collect();
    let back = back.unwrap();
    println!("program {} bytes, same {}", text.len(), back == program);

    let mut vm = Vm::new();
    for op in &back {
        vm.step(op).unwrap();
    }
    println!("vm {:?} steps {}", vm.stack, vm.steps);
    println!("err {:?}", Vm::new().step(&Op::Add));
    println!("err {:?}", decode(&json!(["jump"])));
    println!("err {}", serde_json::from_str::<Value>("{\"a\": [1, 2,, 3]}").unwrap_err());

    let doc = json!({
        "xs": (0..50).map(|i| json!({ "i": i, "sq": i * i, "t": [i, [i]] })).collect::<Vec<_>>(),
        "name": "tr\u{e4}ce"
    });
    let s = serde_json::to_string_pretty(&doc).unwrap();
    let again: Value = serde_json::from_str(&s).unwrap();
    println!("json {} {} {}", s.len(), sum(&again), again == doc);

    let shapes: Vec<Box<dyn Shape>> = vec![
        Box::new(Square(4)),
        Box::new(Rect { w: 5u8, h: 7u8 }),
        Box::new(Rect { w: 300u16, h: 2u16 }),
    ];
    let mut areas = BTreeMap::new();
    for shape in &shapes {
        areas.insert(shape.name(), shape.area());
    }
    println!("areas {:?}", areas);
    let by_area = largest(shapes.iter().map(|b| b.as_ref()), &|s| s.area());
    let by_name = largest(shapes.iter().map(|b| b.as_ref()), &|s| s.name().len());
    println!("largest {:?} {:?}", by_area.map(|s| s.name()), by_name.map(|s| s.name()));
}
