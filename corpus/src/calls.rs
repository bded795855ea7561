// Many small calls: n-queens by plain recursion, Ackermann, a tiny bytecode
// interpreter that dispatches through a table of functions, and a walk over
// trait objects.
type Handler = fn(&mut Machine, i32);

struct Machine {
    acc: i32,
    reg: [i32; 4],
    pc: usize,
    ticks: u32,
}

#[inline(never)]
fn op_load(m: &mut Machine, n: i32) {
    m.acc = n;
}

#[inline(never)]
fn op_get(m: &mut Machine, r: i32) {
    m.acc = m.reg[(r & 3) as usize];
}

#[inline(never)]
fn op_set(m: &mut Machine, r: i32) {
    m.reg[(r & 3) as usize] = m.acc;
}

#[inline(never)]
fn op_add(m: &mut Machine, r: i32) {
    m.acc = m.acc.wrapping_add(m.reg[(r & 3) as usize]);
}

#[inline(never)]
fn op_xor(m: &mut Machine, r: i32) {
    m.acc ^= m.reg[(r & 3) as usize] << 1;
}

#[inline(never)]
fn op_loop(m: &mut Machine, to: i32) {
    m.reg[3] -= 1;
    if m.reg[3] > 0 {
        m.pc = to as usize;
    }
}

static TABLE: [Handler; 6] = [op_load, op_get, op_set, op_add, op_xor, op_loop];

#[inline(never)]
fn run(program: &[(u8, i32)], turns: i32) -> Machine {
    let mut m = Machine { acc: 0, reg: [1, 2, 3, turns], pc: 0, ticks: 0 };
    while let Some(&(op, arg)) = program.get(m.pc) {
        m.pc += 1;
        m.ticks += 1;
        TABLE[op as usize](&mut m, arg);
    }
    m
}

#[inline(never)]
fn place(n: u32, cols: u32, left: u32, right: u32) -> u32 {
    let full = (1 << n) - 1;
    if cols == full {
        return 1;
    }
    let mut free = full & !(cols | left | right);
    let mut found = 0;
    while free != 0 {
        let bit = free & free.wrapping_neg();
        free ^= bit;
        found += place(n, cols | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    found
}

#[inline(never)]
fn ackermann(m: u32, n: u32) -> u32 {
    match (m, n) {
        (0, n) => n + 1,
        (m, 0) => ackermann(m - 1, 1),
        (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
    }
}

trait Node {
    fn weight(&self) -> u32;
}

struct Leaf(u32);
struct Pair(Box<dyn Node>, Box<dyn Node>);

impl Node for Leaf {
    fn weight(&self) -> u32 {
        self.0
    }
}

impl Node for Pair {
    fn weight(&self) -> u32 {
        self.0.weight() * 2 + self.1.weight()
    }
}

#[inline(never)]
fn tree(depth: u32, seed: u32) -> Box<dyn Node> {
    if depth == 0 {
        Box::new(Leaf(seed % 7))
    } else {
        Box::new(Pair(tree(depth - 1, seed * 3 + 1), tree(depth - 1, seed + 5)))
    }
}

fn main() {
    for n in 4..=9 {
        println!("queens {} {}", n, place(n, 0, 0, 0));
    }
    println!("ackermann {}", ackermann(2, 200));
    let program = [(1, 0), (3, 1), (2, 0), (4, 2), (2, 2), (0, 7), (5, 0)];
    let m = run(&program, 10000);
    println!("machine {} {:?} {}", m.acc, m.reg, m.ticks);
    println!("tree {}", tree(12, 1).weight());
}
