//! Machine code, kept between runs.
//!
//! wasmtime's own cache, with settings for a tool that watches its guest: an entry is named by a hash of the module's bytes, of the
//! engine's version and of all its settings, and is written to its place whole, so several processes may share a folder. Whoever
//! can write into the folder decides what runs, and can keep a run from beginning (a pipe in an entry's place is waited for): it
//! should be one's own. Entries that have not been used for longest go when the
//! folder becomes too large.

use std::path::PathBuf;

use wasmtrace_abi::error::Result;

use super::setup::setup;

/// Where machine code is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCache {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// How many bytes it may grow to, more or less: that is looked at once an hour.
    pub most: u64,
}

impl CodeCache {
    /// Half a gigabyte in that folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        CodeCache { folder: folder.into(), most: 512 << 20 }
    }

    pub(super) fn open(&self) -> Result<wasmtime::Cache> {
        let mut config = wasmtime::CacheConfig::new();
        let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
        config
            .with_directory(folder)
            .with_files_total_size_soft_limit(self.most)
            // Code is written once, beside a run, and read often.
            .with_baseline_compression_level(1)
            // The guest is not to share its cores with a thread that compresses code better.
            .with_optimized_compression_usage_counter_threshold(u64::MAX);
        wasmtime::Cache::new(config)
            .map_err(|e| setup(&format!("the cache directory {} cannot be used", self.folder.display()), e))
    }
}
