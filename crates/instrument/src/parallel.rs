//! Parallel work on bodies, if the feature `parallel` is on.
//!
//! Bodies are grouped into runs of about [`RUN_BYTES`]: large enough to reuse a thread's scratch space, small enough
//! that one huge body does not delay the rest. Results are in order, so the output does not depend on the number of
//! threads.

use std::ops::Range;

/// Size of a unit of work, in bytes of the code section.
const RUN_BYTES: usize = 256 * 1024;

/// Groups items of these sizes, in order, into runs of about 256 KiB. Returns ranges of positions.
pub(crate) fn runs(sizes: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut filled = RUN_BYTES;
    for (position, size) in sizes.into_iter().enumerate() {
        if filled >= RUN_BYTES {
            runs.push(position..position);
            filled = 0;
        }
        filled += size + 1;
        runs.last_mut().expect("pushed above").end += 1;
    }
    runs
}

/// Applies `work` to every item, in parallel. The results are in the items' order.
#[cfg(feature = "parallel")]
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    items.into_par_iter().map(work).collect()
}

/// Applies `work` to every item. The results are in the items' order.
#[cfg(not(feature = "parallel"))]
pub(crate) fn map<T, R>(items: Vec<T>, work: impl Fn(T) -> R) -> Vec<R> {
    items.into_iter().map(work).collect()
}

/// Runs both closures, in parallel if possible.
pub(crate) fn both<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    #[cfg(feature = "parallel")]
    return rayon::join(a, b);
    #[cfg(not(feature = "parallel"))]
    (a(), b())
}

/// Fills a buffer for each item with `work`, several in parallel, and passes the buffers to `see` in the items' order.
/// A few buffers are reused.
pub(crate) fn fill<T: Sync, E>(
    items: &[T],
    work: impl Fn(&T, &mut Vec<u8>) + Sync + Send,
    mut see: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffers = vec![Vec::new(); at_once()];
    for batch in items.chunks(buffers.len()) {
        let filled: Vec<(&T, &mut Vec<u8>)> = batch.iter().zip(&mut buffers).collect();
        map(filled, |(item, buffer)| {
            buffer.clear();
            work(item, buffer);
        });
        buffers[..batch.len()].iter().try_for_each(|buffer| see(buffer))?;
    }
    Ok(())
}

/// Number of items to distribute at once: several for each thread, since they take different times.
fn at_once() -> usize {
    #[cfg(feature = "parallel")]
    return match rayon::current_num_threads() {
        1 => 1,
        threads => 4 * threads,
    };
    #[cfg(not(feature = "parallel"))]
    1
}

/// Applies `work` to each position of items with these sizes, run by run. The results are in order.
pub(crate) fn map_each<R: Send>(
    sizes: impl IntoIterator<Item = usize>,
    work: impl Fn(usize) -> R + Sync + Send,
) -> Vec<R> {
    let results = map(runs(sizes), |run| run.map(&work).collect::<Vec<_>>());
    results.into_iter().flatten().collect()
}
