//! A fuzz harness that stays: mutated input for every reader of DermaFuse, in seconds for a test and in hours on demand.
//!
//! A [`Target`](targets::Target) is one reader with a small corpus that it makes itself, through the library. An input follows from
//! the target's name and a seed alone, so any execution can be repeated. What a reader accepts is used, and what comes out
//! is checked. These are findings: a panic, a promise that is broken, more than 512 MiB on the heap, more than ten seconds,
//! the death of the process. `fuzz --help` says how campaigns are run.
//!
//! It needs neither a nightly compiler nor instrumentation. What a coverage-guided fuzzer finds by patience is met halfway
//! by mutations that know the syntax ([`mutate`]), and by mending checksums, so that mutations reach the parsers behind.

pub mod allocator;
pub mod campaign;
pub mod draws;
pub mod execution;
pub mod json;
pub mod mutate;
pub mod tally;
pub mod targets;
pub mod text;
pub mod watch;
pub mod worker;
