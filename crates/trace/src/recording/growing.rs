//! Reading a recording that is still being written.

use std::io::{self, Read, Seek, SeekFrom};

use super::MAGIC;

/// Reads the complete blocks of a growing recording. Later reads return blocks that were completed since.
///
/// A [`super::Reader`] on top of it stops between two blocks and can continue when there are more.
#[derive(Debug)]
pub struct Growing<F> {
    file: F,
    /// The next position to read, and the end of the complete blocks.
    at: u64,
    whole: u64,
}

impl<F: Read + Seek> Growing<F> {
    /// Creates a reader that begins at the start of the file.
    pub fn new(file: F) -> Self {
        Growing { file, at: 0, whole: 0 }
    }

    /// Checks whether the next block is complete: nine bytes with its length, and that many more.
    fn grow(&mut self) -> io::Result<()> {
        let length = self.file.seek(SeekFrom::End(0))?;
        let next = if self.whole == 0 {
            MAGIC.len() as u64
        } else if self.whole + 9 <= length {
            let mut head = [0; 5];
            self.file.seek(SeekFrom::Start(self.whole))?;
            self.file.read_exact(&mut head)?;
            let [_, length @ ..] = head;
            self.whole + 9 + u64::from(u32::from_le_bytes(length))
        } else {
            return Ok(());
        };
        if next <= length {
            self.whole = next;
        }
        Ok(())
    }
}

impl<F: Read + Seek> Read for Growing<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.whole {
            self.grow()?;
        }
        let most = usize::try_from(self.whole - self.at).unwrap_or(usize::MAX).min(buffer.len());
        self.file.seek(SeekFrom::Start(self.at))?;
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Cursor;
    use std::rc::Rc;

    use super::super::{Block, Footer, Header, Reader, Writer};
    use super::*;
    use crate::event::{Event, EventKind, RunOutcome};
    use wasmtrace_abi::hook::{HookSet, ProbeId};
    use wasmtrace_abi::manifest::Manifest;

    /// A file that somebody else appends to.
    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Cursor<Vec<u8>>>>);

    impl Read for Shared {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.borrow_mut().read(buffer)
        }
    }

    impl Seek for Shared {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.borrow_mut().seek(to)
        }
    }

    fn header() -> Header {
        let manifest = Manifest {
            hooks: HookSet::Observe,
            buffer: None,
            input_sha256: [0; 32],
            build_id: Vec::new(),
            probes: Vec::new(),
            restore: None,
        };
        Header {
            program: "p".to_owned(),
            began: 1,
            clock: "hook".to_owned(),
            resolution: 1,
            min_duration: 0,
            max_depth: None,
            manifest,
            context: None,
            resource: Vec::new(),
            stamped: false,
            not_sampled: None,
            resumption: None,
        }
    }

    /// However it is written, byte by byte at the worst, a reader has each block once it is whole, and no part of another.
    #[test]
    fn a_recording_is_read_as_far_as_its_blocks_are_whole() {
        let events: Vec<Event> = (0..20).map(|at| Event { at, kind: EventKind::Enter(ProbeId(at as u32)) }).collect();
        let mut writer = Writer::new(Vec::new(), &header()).unwrap();
        for event in &events {
            writer.event(event).unwrap();
            writer.flush().unwrap();
        }
        let end = Footer { ending: RunOutcome::Returned, duration: 30 };
        let whole = writer.finish(&end).unwrap();
        let head = 17 + u32::from_le_bytes(whole[9..13].try_into().unwrap()) as usize;

        let file = Shared::default();
        file.0.borrow_mut().get_mut().extend(&whole[..head]);
        let mut reader = Reader::open(io::BufReader::new(Growing::new(file.clone()))).unwrap();
        let (mut read, mut some, mut ended) = (Vec::new(), Vec::new(), None);
        for byte in &whole[head..] {
            assert_eq!((reader.block(&mut some).unwrap(), ended.is_none()), (Block::Stops, true));
            file.0.borrow_mut().get_mut().push(*byte);
            match reader.block(&mut some).unwrap() {
                Block::Events => read.append(&mut some),
                Block::Footer(end) => ended = Some(end),
                Block::Stops => {}
            }
        }
        assert_eq!((read, ended), (events, Some(end)));
    }
}
