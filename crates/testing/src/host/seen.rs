//! The events that the hooks of an instance report, by calls or through a buffer.

use wasmtime::{AsContextMut, Caller, Extern, Func, ImportType, Store, Trap as TrapCode};
use wasmtrace::hook::{BufferPlace, OBSERVE, ProbeId, RECORDER};
use wasmtrace::trace::{Event, EventKind};

use super::Guest;

/// A broken compiler makes loops that do not end: after so many events they are cut off. (wasmtime's epochs would cut off
/// those without events too, but with them it reports other addresses for the first operator of a body.)
const MOST_EVENTS: usize = 4 << 20;

/// The events that the hooks of one instance have reported.
pub(super) struct Seen {
    pub(super) events: Vec<Event>,
    pub(super) place: Option<BufferPlace>,
    /// Bytes of an event in it.
    pub(super) event_size: u32,
    /// The buffer's memory, known from the first event on.
    pub(super) buffer: Option<wasmtime::Memory>,
    /// Whether there may be events in it.
    pub(super) open: bool,
    /// The calls that are open, with the numbers of those that catch exceptions: a number stands on its call, or, where that
    /// is not hooked, alone.
    pub(super) calls: Vec<OpenCall>,
    /// How many calls of functions that catch there were.
    pub(super) catching: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum OpenCall {
    Of(ProbeId),
    Number(u32),
}

/// The hook that an instance imports, if it is one.
pub(super) fn hook(store: &mut Store<Guest>, instance: usize, import: &ImportType<'_>) -> Option<Func> {
    let name = import.name().to_owned();
    Some(match (import.module(), import.name()) {
        (RECORDER, "flush-words" | "flush-counted") => Func::wrap(store, move |mut caller: Caller<'_, Guest>| {
            let place = caller.data().seen[instance].place.clone().expect("its Manifest says where");
            let memory = caller.get_export(&place.export).and_then(Extern::into_memory).expect("it is exported");
            let seen = &mut caller.data_mut().seen[instance];
            (seen.buffer, seen.open) = (Some(memory), true);
            taken(caller, instance, Then::Open)
        }),
        (RECORDER, "memory-grow") => Func::wrap(store, move |mut caller: Caller<'_, Guest>, pages: u32| {
            taken(&mut caller, instance, Then::Open)?;
            caller.data_mut().seen[instance].see(EventKind::MemoryGrow(pages))
        }),
        (OBSERVE, "enter" | "exit" | "memory-grow") => {
            Func::wrap(store, move |mut caller: Caller<'_, Guest>, id: u32| {
                caller.data_mut().seen[instance].see(match name.as_str() {
                    "enter" => EventKind::Enter(ProbeId(id)),
                    "exit" => EventKind::Exit(ProbeId(id)),
                    _ => EventKind::MemoryGrow(id), // that is, pages
                })
            })
        }
        _ => return None,
    })
}

impl Seen {
    /// Takes one event of a buffer.
    fn read(&mut self, word: u32) -> wasmtime::Result<()> {
        let (number, id) = (word >> 2, ProbeId(word >> 2));
        match word & 3 {
            0 => {
                self.calls.push(OpenCall::Of(id));
                self.see(EventKind::Enter(id))
            }
            1 => {
                let open = self.calls.iter().rposition(|call| *call == OpenCall::Of(id));
                self.calls.truncate(open.unwrap_or(self.calls.len()));
                self.see(EventKind::Exit(id))
            }
            2 if word >> 31 == 1 => {
                let id = ProbeId(number & !(1 << 29));
                self.see(EventKind::Enter(id))?;
                self.see(EventKind::Exit(id))
            }
            2 => {
                let at = self.calls.iter().rposition(|call| *call == OpenCall::Number(number));
                let above = self.calls.split_off(at.expect("a call of this number is open") + 1);
                above.iter().rev().try_for_each(|call| match call {
                    OpenCall::Of(id) => self.see(EventKind::Unwound(*id)),
                    OpenCall::Number(_) => Ok(()),
                })
            }
            _ => {
                self.catching += 1;
                let hooked = id.0 != u32::MAX >> 2;
                self.calls.extend(hooked.then_some(OpenCall::Of(id)));
                self.calls.push(OpenCall::Number(self.catching));
                if hooked { self.see(EventKind::Enter(id)) } else { Ok(()) }
            }
        }
    }

    fn see(&mut self, kind: EventKind) -> wasmtime::Result<()> {
        self.events.push(Event { at: self.events.len() as u64, kind }); // the clock of a test ticks once an event
        if self.events.len() < MOST_EVENTS { Ok(()) } else { Err(TrapCode::Interrupt.into()) }
    }
}

/// State of a buffer after its events were taken.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Then {
    /// The whole buffer is free for new events.
    Open,
    /// As in a new instance: the next event asks the host for room.
    Closed,
}

/// Takes the events in a guest's buffer.
pub(super) fn taken(mut store: impl AsContextMut<Data = Guest>, instance: usize, then: Then) -> wasmtime::Result<()> {
    let seen = &store.as_context().data().seen[instance];
    let Some(memory) = seen.buffer.filter(|_| seen.open) else { return Ok(()) };
    let (data, guest) = memory.data_and_store_mut(&mut store);
    let seen = &mut guest.seen[instance];
    let first = seen.place.as_ref().expect("it has a buffer").first_block;
    let mut result = Ok(());
    let cursor = word(data, 0).max(first) as usize;
    let size = seen.event_size;
    for event in data[first as usize..cursor].chunks_exact(size as usize) {
        result = seen.read(word(event, 0));
    }
    if then == Then::Closed {
        // The guest has gone back to the host: none of its calls is open any more.
        seen.calls.clear();
    }
    seen.open = then == Then::Open;
    let (cursor, limit) = if seen.open { (first, data.len() as u32) } else { (0, 0) };
    let threshold = if guest.counts_only { u32::MAX } else { 0 };
    for (at, word) in [(0, cursor), (4, limit), (68, threshold)] {
        data[at..][..4].copy_from_slice(&word.to_le_bytes());
    }
    result
}

pub(super) fn word(memory: &[u8], at: u32) -> u32 {
    u32::from_le_bytes(memory[at as usize..][..4].try_into().unwrap())
}
