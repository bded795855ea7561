//! Theorems: reading a recording gives the events that were written; every beginning of a recording gives a beginning of its
//! events; a recording with any byte changed gives a beginning of its events or an error, and nothing else; blocks with any
//! contents and a checksum that fits are read or refused. Nothing panics.

use arbtest::arbitrary::{self, Unstructured};
use wasmtrace::ErrorKind;
use wasmtrace::hook::{HookSet, Manifest, Probe, ProbeId};
use wasmtrace::label::{Label, Source};
use wasmtrace::trace::context::Context;
use wasmtrace::trace::recording::{Block, Footer, Header, Reader, Writer};
use wasmtrace::trace::{Event, EventKind, Level, Manual, Misuse, RunOutcome, Trap};

pub fn header(clock: &str) -> Header {
    let label = Label {
        name: "main".into(),
        file: Some("a.c".into()),
        line: Some(3),
        source: Source::NameSection,
        index: Some(7),
        language: None,
    };
    Header {
        program: "app.wasm".to_owned(),
        began: 1_700_000_000_000_000_000,
        clock: clock.to_owned(),
        resolution: 200_000,
        min_duration: 10_000,
        max_depth: Some(7),
        manifest: Manifest {
            hooks: HookSet::Observe,
            buffer: None,
            input_sha256: [7; 32],
            build_id: Vec::new(),
            probes: vec![Probe { id: ProbeId(3), label }],
            restore: None,
        },
        context: Some(Context { trace: 5 << 100, run: 7, parent: Some(9), flags: 1, state: "a=1".to_owned() }),
        resource: vec![("service.name".to_owned(), "shop".to_owned())],
        stamped: false,
        not_sampled: None,
        resumption: Some(wasmtrace::label::Resumption::Go),
    }
}

pub fn end() -> Footer {
    let trap = Trap { code: "unreachable".to_owned(), message: "wasm `unreachable`".to_owned(), frames: vec![3, 9] };
    Footer { ending: RunOutcome::Trapped(trap), duration: 12_345 }
}

pub fn written(clock: &str, events: &[Event], blocks_of: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header(clock)).unwrap();
    for block in events.chunks(blocks_of.max(1)) {
        block.iter().for_each(|event| writer.event(event).unwrap());
        writer.flush().unwrap();
    }
    writer.finish(&end()).unwrap()
}

/// The events of a recording, how it ends, and the error if there is one.
pub fn read(bytes: &[u8]) -> (Vec<Event>, Option<Block>, Option<wasmtrace::Error>) {
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(e) => return (Vec::new(), None, Some(e)),
    };
    let (mut all, mut block) = (Vec::new(), Vec::new());
    loop {
        match reader.block(&mut block) {
            Ok(Block::Events) => all.append(&mut block),
            Ok(end) => return (all, Some(end), None),
            Err(e) => {
                assert_eq!(reader.block(&mut block).unwrap(), Block::Stops, "after an error nothing comes");
                return (all, None, Some(e));
            }
        }
    }
}

/// Events of every kind, as no program makes them.
pub fn anything(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<Event>> {
    let text = |u: &mut Unstructured<'_>| -> arbitrary::Result<String> { Ok(u.arbitrary::<&str>()?.to_owned()) };
    let mut at = 0u64;
    let mut events = Vec::new();
    for _ in 0..u.int_in_range(0..=300)? {
        at += match u.int_in_range(0..=9)? {
            0..=5 => 0,
            6 => u.int_in_range(1..=99)? * 100,
            7 => u.int_in_range(1..=200)?,
            8 => u.int_in_range(1..=1 << 40)?,
            _ => 100,
        };
        let id = ProbeId(if u.ratio(9, 10)? { u.int_in_range(0..=5)? } else { u.arbitrary()? });
        let kind = match u.int_in_range(0..=30)? {
            0..=12 => EventKind::Enter(id),
            13..=22 => EventKind::Exit(id),
            23 => EventKind::ExitInnermost,
            24 => EventKind::Unwound(id),
            25 => EventKind::Elided(id, u.arbitrary()?),
            26 => EventKind::ClockGap(u.arbitrary()?),
            27 => EventKind::MemoryGrow(u.arbitrary()?),
            _ => EventKind::Manual(Box::new(match u.int_in_range(0..=5)? {
                0 => Manual::SpanEnter(text(u)?),
                1 => Manual::SpanExit,
                2 => Manual::Tags(text(u)?),
                3 => Manual::Metric(text(u)?),
                4 => Manual::Log(Level::from_number(u.int_in_range(1..=5)?).unwrap(), text(u)?),
                _ => Manual::Misuse(Misuse::from_number(u.int_in_range(0..=7)?).unwrap()),
            })),
        };
        events.push(Event { at, kind });
    }
    Ok(events)
}

pub fn a_recording_is_read_as_it_was_written(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let clock = *u.choose(&["hook", "coarse"])?;
    let blocks_of = u.int_in_range(1..=100)?;
    let events = anything(u)?;
    let bytes = written(clock, &events, blocks_of);
    assert_eq!(Reader::open(&bytes[..]).unwrap().header(), &header(clock));
    let (back, block, error) = read(&bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(back, events);
    assert_eq!(block, Some(Block::Footer(end())));

    let cut = u.int_in_range(0..=bytes.len() - 1)?;
    let (back, block, error) = read(&bytes[..cut]);
    assert!(events.starts_with(&back));
    match error {
        Some(e) => assert!(e.kind() == ErrorKind::Recording && back.is_empty(), "{e}"), // within the header
        None => assert_eq!(block, Some(Block::Stops)),
    }

    let mut damaged = bytes.clone();
    let at = u.int_in_range(0..=bytes.len() - 1)?;
    damaged[at] ^= u.int_in_range(1..=255)?;
    let (back, block, error) = read(&damaged);
    assert!(events.starts_with(&back), "a changed byte at {at} gave other events");
    match error {
        Some(e) => assert!(e.kind() == ErrorKind::Recording && e.offset().is_some(), "{e}"),
        None => assert_eq!(block, Some(Block::Stops), "a changed byte at {at} was not noticed"),
    }
    Ok(())
}

/// Blocks whose checksum fits, around contents that do not.
pub fn forged_contents_do_not_panic(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut bytes = written("coarse", &[], 1);
    let start_of_end = bytes.len() - end_block_length();
    bytes.truncate(start_of_end);
    for _ in 0..u.int_in_range(1..=3)? {
        let kind = u.int_in_range(0..=4)?;
        let mut contents = if u.arbitrary()? { vec![0, 100, u.int_in_range(0..=9)?] } else { Vec::new() };
        let length = u.arbitrary_len::<u8>()?.min(200);
        contents.extend_from_slice(u.bytes(length)?);
        let length = contents.len() as u32;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[kind]);
        crc.update(&length.to_le_bytes());
        crc.update(&contents);
        bytes.push(kind);
        bytes.extend(length.to_le_bytes());
        bytes.extend(crc.finalize().to_le_bytes());
        bytes.extend(contents);
    }
    let (_, _, error) = read(&bytes);
    assert!(error.is_none_or(|e| e.kind() == ErrorKind::Recording));
    Ok(())
}

pub fn end_block_length() -> usize {
    let header_only = Writer::new(Vec::new(), &header("coarse")).unwrap();
    let with_end = header_only.finish(&end()).unwrap();
    // The file is magic, header, end; the header's length stands in it.
    let header = u32::from_le_bytes(with_end[9..13].try_into().unwrap()) as usize;
    with_end.len() - 8 - 9 - header
}
