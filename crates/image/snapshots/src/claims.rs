//! One unpacker a snapshot: images that share a layer are often pulled at
//! once.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carrack_oci::ChainId;

/// How long somebody waits for another's unpacking of the same layer. Beyond
/// it both unpack, which is harmless: the first to finish gives the name.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Who is unpacking what.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    chains: Mutex<HashSet<ChainId>>,
    released: Condvar,
}

/// The right to unpack a snapshot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    chain: &'a ChainId,
}

impl Claims {
    /// Waits until nobody else unpacks `chain`.
    pub(crate) fn claim<'a>(&'a self, chain: &'a ChainId) -> Claim<'a> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        while !chains.insert(chain.clone()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (chains, _) = self
                .released
                .wait_timeout(chains, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Claim {
            claims: self,
            chain,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut chains = self
            .claims
            .chains
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        chains.remove(self.chain);
        self.claims.released.notify_all();
    }
}
