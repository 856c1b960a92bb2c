//! The readers: one file for each, with its corpus and with what is done to what it accepts.

mod bundle;
mod class_map;
mod described;
mod encoder;
mod experiment;
mod image;
mod logits;
mod manifest;
mod network;
mod pickle;
mod predictions;
mod sample;
mod self_test;
mod split;
mod table;
mod two_stage;
mod weights;

use std::path::Path;

use crate::mutate::Corpus;

/// What a reader says of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was read, and used.
    Accepted,
    /// An error.
    Refused,
}

/// A reader, and what it is fed.
pub trait Target {
    /// What its inputs are made of.
    fn corpus(&self) -> &Corpus;

    /// Reads an input and uses what was read.
    ///
    /// # Errors
    /// A promise that was broken.
    fn run(&mut self, input: &[u8]) -> Result<Verdict, String>;
}

/// A target by name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Whether an execution takes far less than a millisecond.
    pub cheap: bool,
    /// Makes it; the folder is for its files.
    pub make: fn(&Path) -> Box<dyn Target>,
}

/// All targets that read.
pub const ALL: [Entry; 17] = [
    Entry { name: "image", cheap: true, make: image::target },
    Entry { name: "weights", cheap: true, make: weights::files },
    Entry { name: "safetensors", cheap: true, make: weights::headers },
    Entry { name: "pickle", cheap: true, make: pickle::target },
    Entry { name: "table", cheap: true, make: table::target },
    Entry { name: "described", cheap: true, make: described::descriptions },
    Entry { name: "described_tables", cheap: true, make: described::tables },
    Entry { name: "class_map", cheap: true, make: class_map::target },
    Entry { name: "experiment", cheap: true, make: experiment::target },
    Entry { name: "encoder", cheap: true, make: encoder::target },
    Entry { name: "split", cheap: true, make: split::target },
    Entry { name: "logits", cheap: true, make: logits::target },
    Entry { name: "predictions", cheap: true, make: predictions::target },
    Entry { name: "two_stage", cheap: true, make: two_stage::target },
    Entry { name: "manifest", cheap: true, make: manifest::target },
    Entry { name: "network", cheap: false, make: network::target },
    Entry { name: "bundle", cheap: false, make: bundle::target },
];

/// What shows that findings are found: a panic, a broken promise, too much memory, too much time, too deep a stack.
pub const SELF_TEST: Entry = Entry { name: "self_test", cheap: true, make: self_test::target };

/// The targets of these names; `all` and `cheap` stand for several.
///
/// # Errors
/// A name that no target has.
pub fn named(names: &[String]) -> Result<Vec<&'static Entry>, String> {
    let mut entries: Vec<&'static Entry> = Vec::new();
    for name in names {
        match name.as_str() {
            "all" => entries.extend(&ALL),
            "cheap" => entries.extend(ALL.iter().filter(|entry| entry.cheap)),
            name => entries.push(ALL.iter().chain([&SELF_TEST]).find(|entry| entry.name == name).ok_or_else(|| {
                let known: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
                format!("unknown target `{name}`; use all, cheap or some of {}", known.join(", "))
            })?),
        }
    }
    Ok(entries)
}

/// Refused, unless there is something to go on with.
macro_rules! accepted {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(_) => return Ok(crate::targets::Verdict::Refused),
        }
    };
}
pub(crate) use accepted;

/// A promise: if it is broken, the rest says how.
macro_rules! promise {
    ($kept:expr, $($how:tt)+) => {
        if !$kept {
            return Err(format!($($how)+));
        }
    };
}
pub(crate) use promise;

/// Inputs that are texts.
pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}
