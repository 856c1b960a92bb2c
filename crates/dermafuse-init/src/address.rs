//! Which parameter of which seed this thread draws.

use std::cell::RefCell;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

thread_local! {
    /// Burn calls a parameter's initializer on the thread that asks for its value, and tells it neither the seed nor the path.
    static CURRENT: RefCell<Option<Address>> = const { RefCell::new(None) };
}

/// The seed of a module and the path of one of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) seed: u64,
    pub(crate) path: String,
}

impl Address {
    /// The generator of this address: seed and path are its key.
    pub(crate) fn generator(&self) -> ChaCha8Rng {
        let digest = Sha256::new().chain_update(self.seed.to_le_bytes()).chain_update(&self.path).finalize();
        ChaCha8Rng::from_seed(digest.into())
    }

    /// The address that this thread draws for.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Draws for this address while `work` runs on this thread.
    pub(crate) fn during<T>(self, work: impl FnOnce() -> T) -> T {
        /// Puts the earlier address back, also if the work panics.
        struct Restore(Option<Address>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self)));
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_with_its_work() {
        let address = |path: &str| Address { seed: 1, path: path.to_owned() };
        address("a").during(|| {
            address("b").during(|| assert_eq!(Address::current(), Some(address("b"))));
            assert_eq!(Address::current(), Some(address("a")));
        });
        assert_eq!(Address::current(), None);
    }
}
