//! A single walk over the operators of a body: validates and measures it, and finds the sites for the rewriting.
//!
//! Decoding is the most expensive part, so it is done once. Sites are encoded in two or three bytes each: a module of
//! 66 MB has 2.5 MB of them. No later stage decodes a body again unless it handles exceptions.

use wasmparser::{
    Catch, FrameKind, FrameStack, FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources,
    VisitOperator, VisitSimdOperator, WasmFeatures,
};

use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// The results of walks over a run of bodies.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The sites of all bodies: distance, kind and additional data of each, in unsigned LEB128.
    pub(super) sites: Vec<u8>,
    pub(super) bodies: Vec<Found>,
    /// What features may forbid in them. Only validation notes it.
    pub(super) usage: Usage,
}

/// The results for one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// End of its sites; they begin at the end of the previous body's.
    pub(super) sites_end: u32,
    pub(super) size: Size,
    pub(super) exceptions: Exceptions,
}

/// Passes every operator to the notes, then to `inner`.
struct Visitor<'v, 'n, V> {
    inner: V,
    notes: &'v mut Notes<'n>,
    at: usize,
}

/// The note for an operator, selected by the name of its visit method.
macro_rules! note {
    ($notes:ident $at:ident visit_call $func:ident) => {
        $notes.reference($at, $func);
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_ref_func $func:ident) => {
        $notes.reference($at, $func);
    };
    ($notes:ident $at:ident visit_call_indirect) => {
        $notes.has_more = true;
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_call_ref) => {
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_return_call) => {
        $notes.site($at, Site::TailCall($notes.opened));
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_return_call_indirect) => {
        $notes.site($at, Site::IndirectTailCall($notes.opened));
        $notes.has_more = true;
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_return_call_ref) => {
        $notes.site($at, Site::IndirectTailCall($notes.opened));
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_resume) => {
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_resume_throw) => {
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_resume_throw_ref) => {
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_suspend) => {
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_switch) => {
        $notes.size.has_call = true;
    };
    ($notes:ident $at:ident visit_return) => {
        $notes.site($at, Site::Return($notes.depth));
    };
    ($notes:ident $at:ident visit_br $depth:ident) => {
        if $depth == $notes.depth {
            $notes.site($at, Site::BranchOut);
        }
    };
    ($notes:ident $at:ident visit_unreachable) => {
        $notes.site($at, Site::Unreachable);
    };
    ($notes:ident $at:ident visit_memory_grow $memory:ident) => {
        $notes.has_more = true;
        if $memory == 0 {
            $notes.site($at, Site::MemoryGrow);
        }
    };
    ($notes:ident $at:ident visit_memory_size) => {
        $notes.has_more = true;
    };
    ($notes:ident $at:ident visit_memory_fill) => {
        $notes.has_more = true;
    };
    ($notes:ident $at:ident visit_memory_copy) => {
        $notes.has_more = true;
    };
    ($notes:ident $at:ident visit_memory_init) => {
        $notes.has_more = true;
    };
    ($notes:ident $at:ident visit_memory_discard) => {
        $notes.has_more = true;
    };
    ($notes:ident $at:ident visit_block) => {
        $notes.open();
    };
    ($notes:ident $at:ident visit_loop) => {
        $notes.open();
        $notes.size.has_loop = true;
    };
    ($notes:ident $at:ident visit_if) => {
        $notes.open();
    };
    ($notes:ident $at:ident visit_try) => {
        $notes.open();
        ($notes.exceptions.any, $notes.exceptions.legacy) = (true, true);
    };
    ($notes:ident $at:ident visit_try_table) => {
        $notes.open();
        ($notes.exceptions.any, $notes.exceptions.new) = (true, true);
    };
    ($notes:ident $at:ident visit_throw_ref) => {
        ($notes.exceptions.any, $notes.exceptions.new) = (true, true);
    };
    ($notes:ident $at:ident visit_throw) => {
        $notes.exceptions.any = true;
    };
    ($notes:ident $at:ident visit_rethrow) => {
        $notes.exceptions.any = true;
    };
    ($notes:ident $at:ident visit_delegate) => {
        $notes.close();
    };
    ($notes:ident $at:ident visit_end) => {
        $notes.close();
    };
    // With unused operands.
    ($notes:ident $at:ident $visit:ident $($operand:ident)+) => {
        note!($notes $at $visit);
    };
    ($notes:ident $at:ident $visit:ident) => {};
}

/// Notes an operator that features may forbid.
macro_rules! used {
    ($notes:ident $operator:ident mvp) => {};
    ($notes:ident $operator:ident $proposal:ident) => {
        $notes.usage.note($operator);
    };
}

mod frequent;
mod notes;
mod sites;

use super::usage::{Operand, Reason, Usage};
pub(crate) use notes::Exceptions;
use notes::Notes;
pub use notes::Size;
pub(crate) use sites::{NEAR, Site, Sites};

macro_rules! visits {
    ($(@$proposal:ident $operator:ident $({ $($operand:ident: $type:ty),* })? => $visit:ident ($($arity:tt)*))*) => { $(
        #[inline(always)]
        fn $visit(&mut self $(, $($operand: $type),*)?) -> V::Output {
            #[allow(unused_variables, reason = "of most operators nothing is noted")]
            {
                let (notes, at) = (&mut *self.notes, self.at);
                note!(notes at $visit $($($operand)*)?);
                let operator = const { Reason::operator(stringify!($visit)) };
                used!(notes operator $proposal);
                $($(Operand::note(&$operand, operator, notes.usage);)*)?
            }
            self.inner.$visit($($($operand),*)?)
        }
    )* };
}

impl<'a, V: VisitOperator<'a>> VisitOperator<'a> for Visitor<'_, '_, V> {
    type Output = V::Output;

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = V::Output>> {
        self.notes.has_more = true;
        self.inner.simd_visitor()
    }

    wasmparser::for_each_visit_operator!(visits);
}

impl<V: FrameStack> FrameStack for Visitor<'_, '_, V> {
    #[inline(always)]
    fn current_frame(&self) -> Option<FrameKind> {
        self.inner.current_frame()
    }
}

/// A visitor without validation: it only tracks the open blocks, which decoding needs.
#[derive(Debug)]
struct Frames<'f> {
    open: &'f mut Vec<FrameKind>,
    /// Number of functions.
    functions: u32,
    /// Whether a reference to something that does not exist was found. (Returning this from each visit would cost as
    /// much as the visit.)
    astray: &'f mut bool,
}

/// The effect of an operator on the open blocks.
macro_rules! frame {
    ($self:ident visit_block $type:ident) => {
        $self.open.push(FrameKind::Block)
    };
    ($self:ident visit_loop $type:ident) => {
        $self.open.push(FrameKind::Loop)
    };
    ($self:ident visit_if $type:ident) => {
        $self.open.push(FrameKind::If)
    };
    ($self:ident visit_call $func:ident) => {
        *$self.astray |= $func >= $self.functions
    };
    ($self:ident visit_return_call $func:ident) => {
        *$self.astray |= $func >= $self.functions
    };
    ($self:ident visit_ref_func $func:ident) => {
        *$self.astray |= $func >= $self.functions
    };
    ($self:ident visit_else) => {
        $self.becomes(FrameKind::Else)
    };
    ($self:ident visit_try $type:ident) => {
        $self.open.push(FrameKind::LegacyTry)
    };
    ($self:ident visit_catch $tag:ident) => {
        $self.becomes(FrameKind::LegacyCatch)
    };
    ($self:ident visit_catch_all) => {
        $self.becomes(FrameKind::LegacyCatchAll)
    };
    ($self:ident visit_delegate $depth:ident) => {
        _ = $self.open.pop()
    };
    ($self:ident visit_end) => {
        _ = $self.open.pop()
    };
    // Later stages follow the labels of its clauses.
    ($self:ident visit_try_table $table:ident) => {
        for clause in &$table.catches {
            let (Catch::One { label, .. }
            | Catch::OneRef { label, .. }
            | Catch::All { label }
            | Catch::AllRef { label }) = clause;
            *$self.astray |= *label as usize >= $self.open.len();
        }
        $self.open.push(FrameKind::TryTable)
    };
    ($self:ident $visit:ident $($operand:ident)*) => {};
}

macro_rules! only_frames {
    ($(@$proposal:ident $operator:ident $({ $($operand:ident: $type:ty),* })? => $visit:ident ($($arity:tt)*))*) => { $(
        #[inline(always)]
        #[allow(unused_variables, reason = "most operators are passed over")]
        fn $visit(&mut self $(, $($operand: $type),*)?) {
            frame!(self $visit $($($operand)*)?);
        }
    )* };
}

impl<'a> VisitOperator<'a> for Frames<'_> {
    type Output = ();

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = ()>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(only_frames);
}

impl<'a> VisitSimdOperator<'a> for Frames<'_> {
    wasmparser::for_each_visit_simd_operator!(only_frames);
}

impl FrameStack for Frames<'_> {
    #[inline(always)]
    fn current_frame(&self) -> Option<FrameKind> {
        self.open.last().copied()
    }
}

impl Frames<'_> {
    fn becomes(&mut self, kind: FrameKind) {
        if let Some(last) = self.open.last_mut() {
            *last = kind;
        }
    }
}

const ASTRAY: &str = "the body refers to a function or a `try_table` label that does not exist";

/// Walks over bodies one after the other.
#[derive(Default)]
pub(super) struct Walker {
    pub(super) walked: Walked,
    allocations: FuncValidatorAllocations,
    frames: Vec<FrameKind>,
}

impl Walker {
    /// Validates a body.
    ///
    /// # Errors
    /// With the offset of the first invalid operator.
    pub(super) fn validated(
        &mut self,
        func: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<()> {
        let mut validator = func.into_validator(std::mem::take(&mut self.allocations));
        let mut reader = body.get_binary_reader();
        let (bytes, start) = (body.as_bytes(), body.range().start);
        for locals in body.get_locals_reader()? {
            self.walked.usage.local(locals?.1);
        }
        validator.read_locals(&mut reader)?;
        reader.set_features(*validator.features());
        let mut notes = self.notes(body);
        while !reader.eof() {
            let at = reader.original_position();
            notes.size.operators += 1;
            reader.visit_operator(&mut Visitor { inner: validator.visitor(at), notes: &mut notes, at })??;
            let operator = &bytes[at - start..reader.original_position() - start];
            if std::mem::take(&mut notes.has_more) || !Usage::is_usual(operator) {
                notes.usage.encoded(operator);
            }
        }
        let (size, exceptions) = (notes.size, notes.exceptions);
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        self.found(size, exceptions);
        self.allocations = validator.into_allocations();
        Ok(())
    }

    /// Decodes a body without checking the operands of its operators.
    ///
    /// # Errors
    /// With the offset of the first operator that cannot be decoded, or that closes a block that is not open.
    pub(super) fn decoded(&mut self, body: &FunctionBody<'_>, functions: u32, features: WasmFeatures) -> Result<()> {
        let mut reader = body.get_binary_reader_for_operators()?;
        reader.set_features(features);
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        frames.push(FrameKind::Block);
        let mut astray = false;
        let mut notes = self.notes(body);
        loop {
            let rest = reader.clone().read_bytes(reader.bytes_remaining())?;
            let passed = frequent::pass(&mut notes, &mut frames, functions, (rest, reader.original_position()));
            reader.read_bytes(passed)?;
            if reader.eof() {
                break;
            }
            let at = reader.original_position();
            notes.size.operators += 1;
            let inner = Frames { open: &mut frames, functions, astray: &mut astray };
            reader.visit_operator(&mut Visitor { inner, notes: &mut notes, at })?;
        }
        let (size, exceptions) = (notes.size, notes.exceptions);
        reader.finish_expression(&Frames { open: &mut frames, functions, astray: &mut astray })?;
        if astray {
            return Err(Error::at(ErrorKind::Malformed, body.range().start, ASTRAY));
        }
        self.found(size, exceptions);
        self.frames = frames;
        Ok(())
    }

    fn notes(&mut self, body: &FunctionBody<'_>) -> Notes<'_> {
        Notes {
            sites: &mut self.walked.sites,
            usage: &mut self.walked.usage,
            has_more: false,
            last: body.range().start,
            depth: 0,
            opened: 0,
            size: Size::default(),
            exceptions: Exceptions::default(),
        }
    }

    fn found(&mut self, size: Size, exceptions: Exceptions) {
        let sites_end = self.walked.sites.len() as u32;
        self.walked.bodies.push(Found { sites_end, size, exceptions });
    }
}
