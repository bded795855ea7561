//! A cache for compiled machine code.
//!
//! This uses wasmtime's cache. The name of an entry is a hash of the module, the engine's version and all of its
//! settings. Entries are written atomically, so several processes may share a directory. Entries that were not used for
//! the longest time are deleted when the directory grows too large.
//!
//! Use a private directory: whoever can write to it controls the code that runs, and can block a run by replacing an
//! entry with a pipe.

use std::path::PathBuf;

use wasmtrace_abi::error::Result;

use super::setup::setup;

/// The location and size limit of the cache for machine code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCache {
    /// The directory; created if it does not exist. Machine code goes to a directory `machine-code` in it, where
    /// other files are deleted.
    pub folder: PathBuf,
    /// Approximate size limit in bytes. It is checked once an hour.
    pub most: u64,
}

impl CodeCache {
    /// A cache in that directory with a limit of 512 MiB.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        CodeCache { folder: folder.into(), most: 512 << 20 }
    }

    pub(super) fn open(&self) -> Result<wasmtime::Cache> {
        let mut config = wasmtime::CacheConfig::new();
        let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
        // wasmtime deletes all files in its cache directory that it did not create.
        let folder = folder.join("machine-code");
        config
            .with_directory(folder)
            .with_files_total_size_soft_limit(self.most)
            // Entries are written once, during a run, and read often.
            .with_baseline_compression_level(1)
            // Disables the thread that recompresses entries: it would compete with the guest for CPU cores.
            .with_optimized_compression_usage_counter_threshold(u64::MAX);
        wasmtime::Cache::new(config)
            .map_err(|e| setup(&format!("the cache directory {} cannot be used", self.folder.display()), e))
    }
}
