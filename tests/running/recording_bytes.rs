//! Theorem: a recording is what `docs/recording-format.md` says, byte for byte. Writer and reader agree with each other
//! whatever they agree on (`tests/running/recording_format.rs`); these bytes were written down by hand, so that recordings of last
//! year are read next year.

use crate::theorems::recording::{end, header, read};
use wasm_encoder::Encode;
use wasmtrace::hook::ProbeId;
use wasmtrace::trace::recording::{Block, Footer, Header, Reader, Writer};
use wasmtrace::trace::{Event, EventKind, Level, Manual, Misuse, RunOutcome, Trap};

use EventKind::{ClockGap, Elided, ExitInnermost, MemoryGrow, Unwound};

/// Kinds of blocks.
const EVENTS: u8 = 2;
const END: u8 = 3;

/// The most events, bytes of a block, and bytes of a text.
const MOST_EVENTS: u32 = 1 << 20;
const MOST_BYTES: u32 = 4 << 20;
const MOST_TEXT: usize = 64 << 10;

fn block(kind: u8, contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    [&[kind][..], &length, contents].into_iter().for_each(|part| crc.update(part));
    [&[kind][..], &length, &crc.finalize().to_le_bytes(), contents].concat()
}

/// The magic number and a header.
fn beginning(clock: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(Writer::new(&mut bytes, &header(clock)).unwrap());
    bytes
}

/// The magic number, a header, and blocks.
fn file(clock: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
    [beginning(clock), blocks.concat()].concat()
}

fn enter(id: u32) -> EventKind {
    EventKind::Enter(ProbeId(id))
}

fn exit(id: u32) -> EventKind {
    EventKind::Exit(ProbeId(id))
}

fn manual(manual: Manual) -> EventKind {
    EventKind::Manual(Box::new(manual))
}

fn number(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [number(text.len() as u64), text.into()].concat()
}

/// Theorem: these events are these bytes, and these bytes these events.
fn assert_is(clock: &str, unit: u64, events: Vec<(u64, EventKind)>, ops: &[u8]) {
    let events: Vec<Event> = events.into_iter().map(|(at, kind)| Event { at, kind }).collect();
    let head = [number(events[0].at), number(unit), number(events.len() as u64)].concat();
    let expected = file(clock, &[block(EVENTS, &[&head, ops].concat())]);
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written, &header(clock)).unwrap();
    events.iter().for_each(|event| writer.event(event).unwrap());
    writer.flush().unwrap();
    drop(writer);
    let ops_at = expected.len() - ops.len();
    assert_eq!(written.get(ops_at..).unwrap_or_default(), ops);
    assert!(written == expected);
    let (back, stops, error) = read(&expected);
    assert!(error.is_none() && stops == Some(Block::Stops), "{error:?}");
    assert_eq!(back, events);
}

/// The slots of functions 1, 2, 3 are 39, 15, 54; that of 90 is 39 again.
#[test]
fn calls_are_slots_leaves_and_runs_of_exits() {
    let all = |kinds: Vec<EventKind>| kinds.into_iter().map(|kind| (7, kind)).collect::<Vec<_>>();
    let is = |kinds: Vec<EventKind>, ops: &[u8]| assert_is("coarse", 100, all(kinds), ops);
    is(vec![enter(1), enter(2), exit(2), enter(2), exit(2), enter(1)], &[2, 1, 3, 2, 0x80 + 15, 0x40 + 39]);
    // Another function takes the slot, and the first is named again.
    is(vec![enter(1), enter(SAME_SLOT_AS_1), enter(1)], &[2, 1, 2, SAME_SLOT_AS_1 as u8, 2, 1]);
    // An exit of what is not on top cuts the stack off; one of what is not open does nothing to it.
    is(
        vec![enter(1), enter(1), enter(3), enter(2), exit(3), exit(1), exit(1), exit(1)],
        &[2, 1, 0x67, 2, 3, 2, 2, 4, 3, 0x11, 4, 1],
    );
    is(vec![enter(1), enter(2), exit(3), exit(2), exit(1)], &[2, 1, 2, 2, 4, 3, 0x11]);
    is(vec![enter(1), enter(2), ExitInnermost, exit(1), ExitInnermost], &[2, 1, 2, 2, 6, 0x10, 6]);
    is(vec![enter(1), enter(2), enter(3), Unwound(ProbeId(2)), exit(1)], &[2, 1, 2, 2, 2, 3, 5, 2, 0x10]);
    // Up to sixteen exits are one byte; the first of these is part of a leaf.
    let mut many = vec![enter(1); 18];
    many.extend(vec![exit(1); 18]);
    is(many, &[&[2, 1][..], &[0x67; 16], &[0x80 + 39, 0x1f, 0x10]].concat());
    // What is looked for among the uppermost 64 is not found below.
    for (above, ops) in [(63, &[4, 1, 4, 2][..]), (64, &[4, 1, 0x10])] {
        let mut kinds = vec![enter(1), enter(2)];
        kinds.extend(vec![enter(2); above - 1]);
        kinds.extend([MemoryGrow(0), exit(1), exit(2)]);
        is(kinds, &[&[2, 1, 2, 2][..], &vec![0x4f; above - 1], &[7, 0], ops].concat());
    }
}

const SAME_SLOT_AS_1: u32 = 90;

#[test]
fn times_are_units_and_seldom_nanoseconds() {
    let grow = |times: &[u64]| times.iter().map(|at| (*at, MemoryGrow(1))).collect::<Vec<_>>();
    let times = [100, 100, 200, 3_400, 6_700, 16_300, 26_000, 26_001, 26_151];
    let ops = [
        &[7, 1, 7, 1][..],
        &[0x20, 7, 1],
        &[0x3f, 7, 1],
        &[0xc0, 7, 1],
        &[0xff, 7, 1],
        &[0, 97, 7, 1],
        &[1, 1, 7, 1],
        &[1, 0x96, 1, 7, 1],
    ];
    assert_is("coarse", 100, grow(&times), &ops.concat());
    // Where every event reads a clock, a unit is a nanosecond.
    assert_is(
        "hook",
        1,
        grow(&[5, 6, 38, 71, 167, 264]),
        &[7, 1, 0x20, 7, 1, 0x3f, 7, 1, 0xc0, 7, 1, 0xff, 7, 1, 0, 97, 7, 1],
    );
    // A time that steps back is written as one that does not.
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header("hook")).unwrap();
    [9, 3].into_iter().for_each(|at| writer.event(&Event { at, kind: MemoryGrow(1) }).unwrap());
    writer.flush().unwrap();
    drop(writer);
    assert!(bytes == file("hook", &[block(EVENTS, &[9, 1, 2, 7, 1, 7, 1])]));
}

#[test]
fn the_rest_is_spelt_out() {
    let events = vec![
        MemoryGrow(300),
        Elided(ProbeId(200), 5),
        ClockGap(1 << 35),
        manual(Manual::SpanEnter("sp".into())),
        manual(Manual::SpanExit),
        manual(Manual::Tags("t:1".into())),
        manual(Manual::Metric("m:1|c".into())),
        manual(Manual::Log(Level::Error, "é".into())),
        manual(Manual::Log(Level::Trace, String::new())),
        manual(Manual::Misuse(Misuse::UnknownFormat)),
        manual(Manual::Misuse(Misuse::ForeignEvent)),
        manual(Manual::Misuse(Misuse::LostEvents)),
    ];
    let ops = [
        &[7, 0xac, 2][..],
        &[8, 0xc8, 1, 5],
        &[9, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        b"\x0a\x02sp\x0b\x0c\x03t:1\x0d\x05m:1|c",
        b"\x0e\x01\x02\xc3\xa9\x0e\x05\x00\x0f\x00\x0f\x07\x0f\x08",
    ];
    assert_is("spin", 100, events.into_iter().map(|kind| (0, kind)).collect(), &ops.concat());
}

#[test]
fn every_ending_has_a_number() {
    let trap = Trap { code: "oob".into(), message: "m".into(), frames: vec![3, 200] };
    for (ending, bytes) in [
        (RunOutcome::Returned, &[0][..]),
        (RunOutcome::Exited(-1), &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        (RunOutcome::Exited(3), &[1, 3]),
        (RunOutcome::Trapped(trap), b"\x02\x03oob\x01m\x02\x03\xc8\x01"),
        (RunOutcome::Interrupted(15), &[3, 15]),
        (RunOutcome::Unknown, &[4]),
    ] {
        let expected = file("coarse", &[block(END, &[&[0x90, 3], bytes].concat())]);
        let end = Footer { ending, duration: 400 };
        let written = Writer::new(Vec::new(), &header("coarse")).unwrap().finish(&end).unwrap();
        assert!(written == expected, "{end:?}");
        assert_eq!(read(&expected).1, Some(Block::Footer(end)));
    }
}

#[test]
fn headers_say_whether_there_is_a_depth() {
    for (depth, last) in [(None, 0), (Some(0), 1), (Some(100), 101)] {
        let said = Header { max_depth: depth, ..header("coarse") };
        let mut bytes = Vec::new();
        drop(Writer::new(&mut bytes, &said).unwrap());
        // Version, program, beginning, clock, resolution, least duration, depth, length of the Manifest.
        let before = [&[4][..], &text("app.wasm"), &number(1_700_000_000_000_000_000), &text("coarse")].concat();
        let behind = [number(200_000), number(10_000), vec![last]].concat();
        let contents = [before, behind].concat();
        assert!(bytes[17..].starts_with(&contents));
        // Trace, run, parent, flags, state; then how many attributes, each with key and value; whether events are stamped, and
        // why there are no samples; how functions wait; the index of each function, plus one.
        let ids = [&(5u128 << 100).to_be_bytes()[..], &7u64.to_be_bytes(), &9u64.to_be_bytes(), &[1]].concat();
        let behind = [
            ids,
            text("a=1"),
            vec![1],
            text("service.name"),
            text("shop"),
            vec![0, 0, 1],
            vec![8; said.manifest.probes.len()],
        ]
        .concat();
        assert_eq!(bytes[bytes.len() - behind.len()..], behind);
        assert_eq!(bytes[..8], *b"\x89WTRACE\n");
        assert_eq!(Reader::open(&bytes[..]).unwrap().header(), &said);
    }
}

/// The offset and the words of what is wrong.
fn refused(bytes: &[u8]) -> (usize, String) {
    let (_, _, error) = read(bytes);
    let error = error.expect("it is damaged");
    (error.offset().unwrap(), error.to_string())
}

fn assert_says(bytes: &[u8], offset: usize, words: &str) {
    let (at, said) = refused(bytes);
    assert!(at == offset && said.starts_with(words), "{said} at {at}, not {words} at {offset}");
}

/// Theorem: what is wrong is said with the offset at which it stands in the file.
#[test]
fn what_is_wrong_has_its_offset_in_the_file() {
    let good = block(EVENTS, &[0, 100, 1, 7, 1]);
    let begins = beginning("coarse").len();
    let third = begins + good.len();
    let behind = |last: Vec<u8>| file("coarse", &[good.clone(), last]);

    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_says(&behind(flipped), third, "the recording is damaged: a block does not match its checksum");
    assert_says(&behind(block(9, &[])), third, "unknown block kind");
    assert_says(&behind(block(1, &[])), third, "unknown block kind");
    assert_says(&behind(block(END, &[0, 5])), third + 10, "unknown run outcome");
    assert_says(&behind(block(END, &[0, 0, 0])), third + 11, "the recording is damaged: a block is too long");
    assert_says(&behind(block(END, &[0])), third + 10, "the recording is damaged: ");
    let events = |contents: &[u8]| behind(block(EVENTS, contents));
    assert_says(&events(&[0, 100, 1, 0x10]), third + 12, "the recording is damaged: an exit without an open call");
    assert_says(
        &events(&[0, 100, 2, 7, 1]),
        third + 9,
        "the recording is damaged: a block contains fewer events than it declares",
    );
    assert_says(
        &events(&[0, 100, 1, 7, 1, 6]),
        third + 14,
        "the recording is damaged: a block contains more events than it declares",
    );
    assert_says(&events(&[0, 100, 1, 0x0e, 6, 0]), third + 12, "the recording is damaged: unknown log level");
    assert_says(&events(&[0, 100, 1, 0x0f, 9]), third + 12, "the recording is damaged: unknown kind of misuse");

    // Times may stand still from block to block, and not step back; nor may they be past all numbers.
    let at = |began: u8| block(EVENTS, &[began, 100, 1, 7, 1]);
    assert!(read(&file("coarse", &[at(9), at(9)])).2.is_none());
    let steps = "the recording is damaged: too many events in a block, or a decreasing time";
    assert_says(&file("coarse", &[at(9), at(8)]), third + 9, steps);
    let far = [number(u64::MAX), vec![100, 1, 0x20, 7, 1]].concat();
    assert_says(
        &file("coarse", &[block(EVENTS, &far)]),
        begins + 9 + 12,
        "the recording is damaged: a time is out of range",
    );

    // The last byte of the Manifest says whether restoring data follows, which only modules have.
    let mut restoring = beginning("coarse");
    let manifest = header("coarse").manifest.encode();
    let at = restoring.windows(manifest.len()).position(|bytes| bytes == manifest).unwrap();
    restoring[at + manifest.len() - 1] = 1;
    let restoring = [&restoring[..8], &block(1, &restoring[8 + 9..])].concat();
    assert_says(&restoring, at, "the recording is damaged: its Manifest has restoring data");

    let magic = &beginning("coarse")[..8];
    let header_of = |contents: &[u8]| [magic, &block(1, contents)].concat();
    assert_says(b"\x89WTRACE\r\n", 0, "not a recording");
    assert_says(&header_of(&[9]), 17, "unknown recording version 9");
    assert_says(&[magic, &good].concat(), 8, "the first block of the recording is not its header");
    assert_says(&beginning("coarse")[..20], 8, "the recording is truncated within its header");
    let cut = header_of(&beginning("coarse")[17..30]);
    assert_says(&cut, cut.len(), "the recording is damaged: ");
}

/// Theorem: the limits are those that the format names, to the byte.
#[test]
fn limits_are_met_to_the_byte() {
    // A length that may be, of a block that is cut, is a recording that stops.
    let promise = |kind: u8, length: u32| [&[kind][..], &length.to_le_bytes(), &[0; 4]].concat();
    assert_eq!(read(&file("coarse", &[promise(EVENTS, MOST_BYTES)])).1, Some(Block::Stops));
    let begins = beginning("coarse").len();
    assert_says(&file("coarse", &[promise(EVENTS, MOST_BYTES + 1)]), begins, "a block of 4194305 bytes");
    let magic = &beginning("coarse")[..8];
    assert_says(&[magic, &promise(1, 256 << 20)].concat(), 8, "the recording is truncated within its header");
    assert_says(&[magic, &promise(1, (256 << 20) + 1)].concat(), 8, "a block of 268435457 bytes");

    // So many events may be said to be there, and then have to be.
    for (count, words) in [
        (MOST_EVENTS, "the recording is damaged: a block contains fewer"),
        (MOST_EVENTS + 1, "the recording is damaged: too many events"),
    ] {
        let contents = [vec![0, 100], number(count.into()), vec![7, 1]].concat();
        assert_says(&file("coarse", &[block(EVENTS, &contents)]), begins + 9, words);
    }
    // A million calls are open, and end in one block.
    let most = u64::from(MOST_EVENTS);
    let enters = [vec![0, 100], number(most), vec![2, 1], vec![0x67; most as usize - 1]].concat();
    let exits = [vec![0, 100], number(most), vec![0x1f; most as usize / 16]].concat();
    let (events, _, error) = read(&file("coarse", &[block(EVENTS, &enters), block(EVENTS, &exits)]));
    assert!(error.is_none() && events.len() == 2 * most as usize && events.last().unwrap().kind == exit(1));

    // A text has a length, and is cut off there, between two characters.
    let said = |text: &str| Event { at: 0, kind: manual(Manual::SpanEnter(text.into())) };
    for (length, refused) in [(MOST_TEXT, false), (MOST_TEXT + 1, true), (MOST_TEXT + 2, true)] {
        let contents = [vec![0, 100, 1, 0x0a], text(&"x".repeat(length))].concat();
        let (events, _, error) = read(&file("coarse", &[block(EVENTS, &contents)]));
        assert_eq!((error.is_some(), events.len()), (refused, !refused as usize), "{length}");
    }
    let long = "x".repeat(MOST_TEXT - 1) + "é";
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header("coarse")).unwrap();
    writer.event(&said(&long)).unwrap();
    writer.flush().unwrap();
    drop(writer);
    assert_eq!(read(&bytes).0, [said(&long[..MOST_TEXT - 1])]);
}

/// Theorem: as many calls are followed as the format says; one more is entered, and is not on the stack.
#[test]
fn the_stack_has_a_limit() {
    const MOST_OPEN: usize = 4 << 20;
    for (calls, last) in [(MOST_OPEN, &[0x10][..]), (MOST_OPEN + 1, &[4, 2])] {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, &header("coarse")).unwrap();
        let mut event = |kind| writer.event(&Event { at: 0, kind }).unwrap();
        (1..calls).for_each(|_| event(enter(1)));
        [enter(2), MemoryGrow(0), exit(2)].into_iter().for_each(event);
        writer.flush().unwrap();
        drop(writer);
        assert!(bytes.ends_with(&[&[7, 0], last].concat()), "{calls}");
    }
}

/// Theorem: blocks end by themselves when they are full, so that little is lost with a process, and what was flushed is there.
#[test]
fn blocks_end_when_they_are_full_and_where_they_are_flushed() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header("coarse")).unwrap();
    let grow = |at: u64| Event { at, kind: MemoryGrow(1) };
    (0..50_000).for_each(|at| writer.event(&grow(at / 2 * 100)).unwrap());
    writer.flush().unwrap();
    writer.flush().unwrap();
    writer.event(&grow(50_000_000)).unwrap();
    let written = writer.finish(&end()).unwrap().len();
    let (mut reader, mut events, mut blocks) = (Reader::open(&bytes[..]).unwrap(), Vec::new(), Vec::new());
    assert_eq!(written, bytes.len());
    while reader.block(&mut events).unwrap() == Block::Events {
        blocks.push(events.len());
    }
    // Two events and a step of time are five bytes, without the first step: 65,534 bytes, and the next event is the last.
    assert_eq!(blocks, [26_215, 23_785, 1]);
}
