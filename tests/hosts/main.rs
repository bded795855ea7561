//! Hooked modules on hosts that are not ours. The folders beside this file hold these hosts.

mod hosts;
mod sdk;
