//! Why bodies may need features of WebAssembly.
//!
//! Validation depends on features only in operators and operands that are not of the first version of WebAssembly. The
//! walk over a body notes each kind of them once, with a body that has it. If these bodies are valid under some features,
//! all bodies are. So [`crate::features`] validates a few bodies again, and not all of them many times.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use wasmparser::{
    BlockType, BrTable, Catch, HeapType, Ieee32, Ieee64, MemArg, Ordering, RefType, ResumeTable, TryTable, V128,
    ValType,
};

/// A kind of operator or operand that features may forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reason {
    /// A hash of the operator's name; 0 for a reason that is the same in all operators.
    operator: u32,
    detail: u32,
}

impl Reason {
    /// The operator itself.
    pub(super) const fn operator(name: &str) -> Reason {
        // FNV-1a.
        let bytes = name.as_bytes();
        let mut hash = 0x811c_9dc5_u32;
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
            at += 1;
        }
        Reason { operator: hash | 1, detail: 0 }
    }

    /// An operand of an operator. The requirements of some operands depend on the operator.
    fn with(self, detail: u32) -> Reason {
        Reason { detail, ..self }
    }

    const fn general(detail: u32) -> Reason {
        Reason { operator: 0, detail }
    }
}

/// The index of a memory or table that is not one byte that is zero.
const INDEX: Reason = Reason::operator("index");
/// Another memory than the first.
const MEMORY: Reason = Reason::general(2);
/// An offset that may be of 64 bits.
const OFFSET: Reason = Reason::general(1);
const LOCAL: Reason = Reason::operator("local");
const SIMD: Reason = Reason::general(4);
const RELAXED_SIMD: Reason = Reason::general(5);

/// The kinds that occur in some bodies, each with the position of a body that has it.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    /// The position of the body that is being walked.
    pub(super) body: u32,
    found: HashMap<Reason, u32>,
    /// Kinds that were found recently.
    recent: [Reason; RECENT],
}

const RECENT: usize = 64;

impl Default for Usage {
    fn default() -> Self {
        Usage { body: 0, found: HashMap::new(), recent: [Reason::general(0); RECENT] }
    }
}

impl Usage {
    #[inline]
    pub(super) fn note(&mut self, reason: Reason) {
        let place = (reason.operator ^ reason.detail.wrapping_mul(0x9e37_79b1)) as usize >> 1 & (RECENT - 1);
        if self.recent[place] != reason {
            self.recent[place] = reason;
            self.found.entry(reason).or_insert(self.body);
        }
    }

    /// Adds what was found in other bodies.
    pub(super) fn merge(&mut self, other: Usage) {
        for (reason, body) in other.found {
            self.found.entry(reason).or_insert(body);
        }
    }

    /// The positions of bodies that have all kinds between them, ascending.
    pub(super) fn bodies(&self) -> Vec<u32> {
        let mut bodies: Vec<u32> = self.found.values().copied().collect();
        bodies.sort_unstable();
        bodies.dedup();
        bodies
    }

    /// Notes the type of a local.
    pub(super) fn local(&mut self, ty: ValType) {
        ty.note(LOCAL, self);
    }

    /// Whether a body contains `ref.func`.
    pub(super) fn refers_to_functions(&self) -> bool {
        self.found.contains_key(&Reason::operator("visit_ref_func"))
    }

    /// Whether the bytes of an operator without an index need no further check: it is neither a load or store with unusual
    /// operands, nor an atomic operator.
    #[inline(always)]
    pub(super) fn is_usual(operator: &[u8]) -> bool {
        match operator[0] {
            0x28..=0x3e => operator[1] & 0xc0 == 0 && operator.len() <= 7,
            0xfe => false,
            _ => true,
        }
    }

    /// Notes what only the bytes of an operator show: the index of a memory or table may be padded, and vector operators
    /// have a separate visitor.
    pub(super) fn encoded(&mut self, operator: &[u8]) {
        match operator {
            [0xfd, rest @ ..] => self.simd(rest),
            [0x28..=0x3e, operands @ ..] | [0xfe, _, operands @ ..] => self.access(operands),
            // Two indices: of `memory.copy`.
            [0xfc, _, 0, 0] | [0xfc, _, 0] => {}
            [0xfc, number, ..] => self.note(INDEX.with(256 + u32::from(*number))),
            [.., before, 0] if before & 0x80 == 0 => {}
            [opcode, ..] => self.note(INDEX.with(u32::from(*opcode))),
            [] => {}
        }
    }

    /// Notes what is unusual about the operands of a load or a store: alignment and offset.
    fn access(&mut self, operands: &[u8]) {
        // A bit beside the alignment says that the index of a memory follows.
        if operands.first().is_some_and(|flags| flags & 0xc0 != 0) {
            self.note(MEMORY);
        }
        // An offset of more than five bytes.
        if operands.len() > 6 {
            self.note(OFFSET);
        }
    }

    fn simd(&mut self, operator: &[u8]) {
        let mut number = 0u32;
        let mut operands = operator;
        for shift in (0..32).step_by(7) {
            let Some((byte, rest)) = operands.split_first() else { break };
            operands = rest;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        self.note(if number >= 0x100 { RELAXED_SIMD } else { SIMD });
        // Loads and stores; the number of a lane may follow.
        if matches!(number, 0..=11 | 84..=93) {
            self.access(operands);
        }
    }
}

/// An operand of an operator.
pub(super) trait Operand {
    /// Notes what features may forbid in the operand.
    #[inline(always)]
    fn note(&self, _: Reason, _: &mut Usage) {}
}

impl Operand for u8 {}
impl Operand for u32 {}
impl Operand for i32 {}
impl Operand for i64 {}
impl Operand for Ieee32 {}
impl Operand for Ieee64 {}
impl Operand for V128 {}
impl Operand for [u8; 16] {}
impl Operand for BrTable<'_> {}
impl Operand for Ordering {}
impl Operand for ResumeTable {}

impl Operand for MemArg {
    #[inline(always)]
    fn note(&self, _: Reason, usage: &mut Usage) {
        if self.memory != 0 {
            usage.note(MEMORY);
        }
    }
}

impl Operand for BlockType {
    #[inline(always)]
    fn note(&self, operator: Reason, usage: &mut Usage) {
        match self {
            BlockType::Empty => {}
            BlockType::Type(ty) => ty.note(operator, usage),
            BlockType::FuncType(index) => usage.note(Reason::general(index.wrapping_add(16))),
        }
    }
}

impl Operand for TryTable {
    fn note(&self, operator: Reason, usage: &mut Usage) {
        self.ty.note(operator, usage);
        if self.catches.iter().any(|catch| matches!(catch, Catch::OneRef { .. } | Catch::AllRef { .. })) {
            usage.note(operator.with(1));
        }
    }
}

impl Operand for ValType {
    #[inline(always)]
    fn note(&self, operator: Reason, usage: &mut Usage) {
        match self {
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => {}
            ValType::V128 => usage.note(operator.with(2)),
            ValType::Ref(ty) => ty.note(operator, usage),
        }
    }
}

impl Operand for Vec<ValType> {
    fn note(&self, operator: Reason, usage: &mut Usage) {
        self.iter().for_each(|ty| ty.note(operator, usage));
        if self.len() != 1 {
            usage.note(operator.with(3));
        }
    }
}

impl Operand for RefType {
    fn note(&self, operator: Reason, usage: &mut Usage) {
        usage.note(operator.with(4 + u32::from(self.is_nullable())));
        self.heap_type().note(operator, usage);
    }
}

impl Operand for HeapType {
    fn note(&self, operator: Reason, usage: &mut Usage) {
        let detail = match self {
            HeapType::Abstract { .. } => {
                let mut hasher = std::hash::DefaultHasher::new();
                self.hash(&mut hasher);
                hasher.finish() as u32 | 64
            }
            HeapType::Concrete(_) => 6,
            HeapType::Exact(_) => 7,
        };
        usage.note(operator.with(detail));
    }
}
