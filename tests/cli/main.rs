//! The command line, and the commands of the README. The `.trycmd` files beside this file are commands with their output.

mod cli;
mod convert;
mod diff;
mod extract;
mod manners;
mod readme;
mod schemas;
mod tables;
mod written;
