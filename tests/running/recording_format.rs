//! What is written to a recording is what is read from it: oracle 16 of `docs/oracles.md`; its theorems are in
//! `theorems/recording.rs`, those of what is shown of a recording in `theorems/shown.rs`.

use crate::theorems::recording::{
    a_recording_is_read_as_it_was_written, end_block_length, forged_contents_do_not_panic, read, written,
};
use crate::theorems::shown::anything_is_shown_as_what_it_is;
use arbtest::arbtest;
use wasmtrace::hook::ProbeId;
use wasmtrace::trace::recording::Block;
use wasmtrace::trace::{Event, EventKind};

#[test]
fn smoke() {
    arbtest(a_recording_is_read_as_it_was_written).budget_ms(2_000);
}

#[test]
fn smoke_of_forgery() {
    arbtest(forged_contents_do_not_panic).budget_ms(1_000);
}

#[test]
fn smoke_of_what_is_shown() {
    arbtest(anything_is_shown_as_what_it_is).budget_ms(2_000);
}

/// For longer: `cargo test --test running recording_format::long -- --ignored`.
#[test]
#[ignore = "a minute"]
fn long_run() {
    arbtest(a_recording_is_read_as_it_was_written).budget_ms(40_000);
    arbtest(forged_contents_do_not_panic).budget_ms(20_000);
    arbtest(anything_is_shown_as_what_it_is).budget_ms(20_000);
}

#[test]
fn every_beginning_and_every_damaged_byte_is_noticed() {
    let events: Vec<Event> = calls(3, 200);
    let bytes = written("coarse", &events, 50);
    for cut in 0..bytes.len() {
        let (back, _, error) = read(&bytes[..cut]);
        assert!(events.starts_with(&back) && (error.is_none() || back.is_empty()));
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let (back, block, error) = read(&damaged);
        assert!(events.starts_with(&back) && (error.is_some() || block == Some(Block::Stops)), "byte {at}");
    }
}

/// A length that promises more than there is costs no memory, and one that cannot be is refused.
#[test]
fn lengths_are_not_believed() {
    let bytes = written("coarse", &[], 1);
    let events = bytes.len() - end_block_length();
    for (length, refused) in [(3 << 20, false), (5 << 20, true), (u32::MAX, true)] {
        let mut bomb = bytes[..events].to_vec();
        bomb.push(2);
        bomb.extend(u32::to_le_bytes(length));
        bomb.extend([0; 100]);
        let (_, block, error) = read(&bomb);
        assert_eq!(error.is_some(), refused);
        assert!(refused || block == Some(Block::Stops));
    }
}

/// A program that calls: a function of `width` others, several levels deep, each tick a hundred events.
fn calls(width: u32, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let mut seed = 1u32;
    let mut open = Vec::new();
    while events.len() < count {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = events.len() as u64 / 100 * 100;
        let kind = if open.len() < 3 || (open.len() < 30 && seed >> 31 == 0) {
            // Few functions are called often, many now and then.
            let id = (seed >> 8) % width * ((seed >> 20) % 3) / 2;
            open.push(id);
            EventKind::Enter(ProbeId(id))
        } else {
            EventKind::Exit(ProbeId(open.pop().unwrap()))
        };
        events.push(Event { at, kind });
    }
    events
}

/// Theorem: an event of a program takes at most 1.6 bytes.
#[test]
fn recordings_are_small() {
    for width in [1, 30, 300, 3000] {
        let events = calls(width, 200_000);
        let bytes = written("coarse", &events, events.len()).len() as f64 / events.len() as f64;
        assert!(bytes < 1.6, "{bytes} bytes an event with {width} functions");
    }
}
