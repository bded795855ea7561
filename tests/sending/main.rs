//! What collectors receive: over every transport, during and after a run, and when a collector fails.

mod backends;
mod faults;
mod incremental;
mod sending;
mod sending_settings;
mod sending_tls;
