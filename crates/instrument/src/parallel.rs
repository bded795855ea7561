//! Work on bodies, spread over the cores where the feature `parallel` is on.
//!
//! Bodies are grouped into runs of about [`RUN_BYTES`]: large enough that a thread's scratch space is reused, small
//! enough that one giant body does not hold up the rest. Results come back in order, so what is built from them does
//! not depend on the number of threads.

use std::ops::Range;

/// How much of the code section one unit of work covers.
const RUN_BYTES: usize = 256 * 1024;

/// Groups items of these sizes, in order, into runs whose sizes add up to about 256 KiB: ranges of their positions.
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

/// Applies `work` to every item; the results are in the items' order.
#[cfg(feature = "parallel")]
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    items.into_par_iter().map(work).collect()
}

/// Applies `work` to every item; the results are in the items' order.
#[cfg(not(feature = "parallel"))]
pub(crate) fn map<T, R>(items: Vec<T>, work: impl Fn(T) -> R) -> Vec<R> {
    items.into_iter().map(work).collect()
}

/// Does both, at the same time if there are cores for it.
pub(crate) fn both<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    #[cfg(feature = "parallel")]
    return rayon::join(a, b);
    #[cfg(not(feature = "parallel"))]
    (a(), b())
}

/// Has `work` fill a buffer for each item, some at a time, and shows the buffers to `see`, in the items' order. There are few of
/// them, and they are used again and again.
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

/// How many items to hand out together: some for each thread, since no two take equally long.
fn at_once() -> usize {
    #[cfg(feature = "parallel")]
    return match rayon::current_num_threads() {
        1 => 1,
        threads => 4 * threads,
    };
    #[cfg(not(feature = "parallel"))]
    1
}

/// Applies `work` to each position of items that have these sizes, run by run; the results are in order.
pub(crate) fn map_each<R: Send>(
    sizes: impl IntoIterator<Item = usize>,
    work: impl Fn(usize) -> R + Sync + Send,
) -> Vec<R> {
    let results = map(runs(sizes), |run| run.map(&work).collect::<Vec<_>>());
    results.into_iter().flatten().collect()
}
