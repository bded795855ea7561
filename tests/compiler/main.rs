//! What the compiler writes: that it is the original plus hooks, that everything which points into code still points to the
//! same, and that no input does harm.

mod corpus;
mod costs;
mod debug;
mod debug_entries;
mod debug_files;
mod erasure;
mod hostile;
mod injection;
mod large;
mod limits;
mod misplaced;
mod needed_features;
mod nesting;
mod random;
mod random_components;
mod rewriting;
mod second_opinion;
mod seeds;
mod selection;
mod snapshots;
mod sourcemap_labels;
mod sourcemap_links;
mod sourcemaps;
#[path = "../theorems/mod.rs"]
mod theorems;
