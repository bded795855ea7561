//! A recording that is still written: as far as its blocks are whole.

use std::io::{self, Read, Seek, SeekFrom};

use super::MAGIC;

/// Gives the whole blocks of a recording, and nothing behind them; asked again, those that have become whole since.
///
/// [`super::Reader`] over it stops where the recording does, between two blocks, and goes on when there are more.
#[derive(Debug)]
pub struct Growing<F> {
    file: F,
    /// Where it is read next, and up to where that is whole.
    at: u64,
    whole: u64,
}

impl<F: Read + Seek> Growing<F> {
    /// From its beginning.
    pub fn new(file: F) -> Self {
        Growing { file, at: 0, whole: 0 }
    }

    /// Looks whether the next block is there: nine bytes that say how long it is, and so many more.
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
