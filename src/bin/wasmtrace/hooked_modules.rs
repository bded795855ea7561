//! Hooked modules, kept between runs beside their machine code. Hooking a large module takes a second.
//!
//! An entry is named by a hash of all that hooking depends on: the module, its sidecar files, the rules, the hook set, and
//! this program. Modules with warnings are not kept, so that a warning is shown at each run.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wasmtrace::label::hex;
use wasmtrace::mapping::OffsetMap;
use wasmtrace::sidecar::SidecarFiles;
use wasmtrace::{Options, sha256};

/// Smaller modules are hooked again: that takes milliseconds.
const LEAST_BYTES: usize = 256 << 10;

/// Size limit of all entries together. The oldest are deleted.
const MOST_BYTES: u64 = 512 << 20;

const MAGIC: &[u8; 8] = b"\x89WTHOOK1";

/// The length of what is before the contents: magic number, SHA-256 of the contents, length of the module.
const HEAD: usize = 8 + 32 + 8;

/// A module to run.
pub(crate) struct Hooked {
    pub(crate) wasm: Vec<u8>,
    /// From the input's code offsets to those of `wasm`, if it was hooked here.
    pub(crate) offsets: Option<OffsetMap>,
}

impl From<Vec<u8>> for Hooked {
    /// A module that runs unchanged.
    fn from(wasm: Vec<u8>) -> Self {
        Hooked { wasm, offsets: None }
    }
}

/// The entry for one module with certain options.
pub(crate) struct Entry(PathBuf);

impl Entry {
    /// The entry in a cache directory. `None` for a module that is not worth one.
    pub(crate) fn of(cache: &Path, wasm: &[u8], options: &Options) -> Option<Entry> {
        if wasm.len() < LEAST_BYTES {
            return None;
        }
        let Options { select, rewrite, sidecar, .. } = options;
        let rules: Vec<&str> = (0..).map_while(|place| select.text(place)).collect();
        let SidecarFiles { source_map, debug_file } = sidecar;
        let files = [source_map, debug_file].map(|file| file.as_ref().map(|file| sha256(&file.bytes)));
        let program = std::env::current_exe().and_then(|path| path.metadata()).ok()?;
        let version = (env!("CARGO_PKG_VERSION"), program.len(), program.modified().ok()?);
        let all = format!("{:?}", (version, sha256(wasm), files, rules, select.min_size, select.imports, rewrite));
        Some(Entry(cache.join("hooked").join(hex(&sha256(all.as_bytes())))))
    }

    /// The hooked module, if it was kept.
    pub(crate) fn load(&self) -> Option<Hooked> {
        let mut bytes = std::fs::read(&self.0).ok()?;
        // The modules that were used last are kept longest.
        let _ = File::options().append(true).open(&self.0).and_then(|file| file.set_modified(SystemTime::now()));
        let Some((length, rest)) = self.checked(&bytes) else {
            let _ = std::fs::remove_file(&self.0);
            return None;
        };
        let offsets = OffsetMap::from_bytes(rest.get(length..)?)?;
        bytes.truncate(HEAD + length);
        bytes.drain(..HEAD);
        Some(Hooked { wasm: bytes, offsets: Some(offsets) })
    }

    /// The length of the module in an entry, and the contents after the head. `None` if the entry is damaged.
    fn checked<'e>(&self, entry: &'e [u8]) -> Option<(usize, &'e [u8])> {
        let (head, contents) = entry.split_at_checked(HEAD)?;
        let (hash, length) = head.strip_prefix(MAGIC)?.split_at(32);
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        (*hash == sha256(contents) && length <= contents.len()).then_some((length, contents))
    }

    /// Keeps a hooked module. If that fails, the next run hooks it again.
    pub(crate) fn store(&self, hooked: &Hooked) {
        let _ = self.write(hooked);
    }

    fn write(&self, Hooked { wasm, offsets }: &Hooked) -> std::io::Result<()> {
        let (Some(offsets), Some(folder)) = (offsets, self.0.parent()) else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let contents = [wasm.as_slice(), &offsets.to_bytes()].concat();
        file.write_all(MAGIC)?;
        file.write_all(&sha256(&contents))?;
        file.write_all(&(wasm.len() as u64).to_le_bytes())?;
        file.write_all(&contents)?;
        file.persist(&self.0)?;
        shrink(folder, MOST_BYTES)
    }
}

/// Deletes the oldest files of a folder until the others have at most so many bytes.
fn shrink(folder: &Path, most: u64) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        if let Ok(metadata) = entry.metadata().and_then(|metadata| Ok((metadata.modified()?, metadata.len()))) {
            files.push((metadata, entry.path()));
        }
    }
    files.sort_by_key(|((modified, _), _)| std::cmp::Reverse(*modified));
    let mut bytes = 0;
    for ((_, length), path) in files {
        bytes += length;
        if bytes > most {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_go_first() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in [(30, "old"), (20, "middle"), (10, "new")] {
            let file = File::create(folder.path().join(name)).unwrap();
            (&file).write_all(&[0; 100]).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        shrink(folder.path(), 250).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["middle", "new"]);
    }

    #[test]
    fn a_damaged_entry_is_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry(folder.path().join("entry"));
        let hooked = Hooked { wasm: b"\0asm".to_vec(), offsets: Some(OffsetMap::default()) };
        entry.store(&hooked);
        assert_eq!(entry.load().unwrap().wasm, hooked.wasm);
        let whole = std::fs::read(&entry.0).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&entry.0, &whole[..length]).unwrap();
            assert!(entry.load().is_none(), "{length}");
            // The next run creates it again.
            assert!(!entry.0.exists());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&entry.0, &damaged).unwrap();
            assert!(entry.load().is_none(), "{at}");
        }
    }
}
