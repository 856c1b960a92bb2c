//! One block of memory a thread, handed from image to image: asking the system for a fresh one each time takes a third
//! as long as decoding into it.

use std::cell::Cell;

/// Larger blocks are given back to the system.
const MAX_KEPT: usize = 16 << 20;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `bytes` bytes of any content.
pub(super) fn take(bytes: usize) -> Vec<u8> {
    let mut block = KEPT.take();
    block.resize(bytes, 0);
    block
}

/// Keeps a block for the next [`take`].
pub(crate) fn give(block: Vec<u8>) {
    if block.capacity() <= MAX_KEPT {
        KEPT.set(block);
    }
}
