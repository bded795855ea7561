//! Work on bodies, spread over the cores where the feature `parallel` is on.
//!
//! Bodies are grouped into runs of about [`RUN_BYTES`]: large enough that a thread's scratch space is reused, small
//! enough that one giant body does not hold up the rest. Results come back in order, so what is built from them does
//! not depend on the number of threads.

/// How much of the code section one unit of work covers.
const RUN_BYTES: usize = 256 * 1024;

/// Groups items, in order, into runs whose sizes add up to about 256 KiB.
pub(crate) fn runs_of<T>(items: impl IntoIterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut filled = RUN_BYTES;
    for item in items {
        if filled >= RUN_BYTES {
            runs.push(Vec::new());
            filled = 0;
        }
        filled += size(&item) + 1;
        runs.last_mut().expect("pushed above").push(item);
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
