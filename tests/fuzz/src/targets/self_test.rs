//! A target that goes wrong in every way, at known seeds: what a campaign must find.

use std::path::Path;

use super::{Target, Verdict};
use crate::mutate::{Corpus, Syntax};

struct SelfTest {
    corpus: Corpus,
}

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    // One byte: the changes below make all values of it.
    Box::new(SelfTest { corpus: Corpus { syntax: Syntax::Binary, entries: vec![vec![0]], words: &[], make: None } })
}

impl Target for SelfTest {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        match input {
            [1] => panic!("a byte of {}", input[0]),
            [2] => Err("a byte of 2".into()),
            [4] => {
                // The compiler leaves out memory that nobody looks at.
                let large = std::hint::black_box(vec![1_u8; crate::allocator::CAP + 1]);
                Ok(if large.len() > input.len() { Verdict::Accepted } else { Verdict::Refused })
            }
            [8] => loop {
                std::thread::sleep(std::time::Duration::from_millis(1));
            },
            [16] => Ok(if depth(input, 0) == 0 { Verdict::Accepted } else { Verdict::Refused }),
            [] => Ok(Verdict::Refused),
            _ => Ok(Verdict::Accepted),
        }
    }
}

/// Endless, as far as the stack goes.
#[allow(unconditional_recursion, clippy::only_used_in_recursion, reason = "a stack must overflow")]
fn depth(input: &[u8], above: usize) -> usize {
    let block = [above; 64];
    std::hint::black_box(&block);
    1 + depth(input, block[above % 64] + 1)
}
