//! Which addresses of one subnet are taken. Pure.

/// Addresses that one pool covers at most: offsets of a larger subnet beyond
/// this are never given out. 8 KiB of bits.
pub(crate) const MAX_ADDRESSES: u32 = 1 << 16;

/// Offsets in a subnet, given out round robin: an address that came back is
/// used again as late as possible, so that nobody's stale connection or
/// neighbour entry meets a new container.
#[derive(Debug)]
pub(crate) struct Pool {
    taken: Vec<u64>,
    size: u32,
    used: u32,
    cursor: u32,
}

impl Pool {
    /// The pool of a subnet with that prefix, network and broadcast address
    /// taken.
    pub(crate) fn new(prefix: u8) -> Self {
        let host_bits = 32u32.saturating_sub(u32::from(prefix));
        let size = 1u32
            .checked_shl(host_bits)
            .unwrap_or(u32::MAX)
            .min(MAX_ADDRESSES);
        let mut pool = Self {
            taken: vec![0; (size as usize).div_ceil(64)],
            size,
            used: 0,
            cursor: 1,
        };
        pool.reserve(0);
        if host_bits <= 16 {
            pool.reserve(size - 1);
        }
        pool
    }

    /// Takes the next free offset.
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        let at = self
            .free_from(self.cursor, self.size)
            .or_else(|| self.free_from(0, self.cursor))?;
        self.reserve(at);
        self.cursor = (at + 1) % self.size;
        Some(at)
    }

    /// Takes that offset; false where it is taken or not in the pool.
    pub(crate) fn reserve(&mut self, offset: u32) -> bool {
        if offset >= self.size || self.is_taken(offset) {
            return false;
        }
        self.taken[(offset / 64) as usize] |= 1 << (offset % 64);
        self.used += 1;
        true
    }

    /// Gives an offset back; giving back a free one does nothing.
    pub(crate) fn release(&mut self, offset: u32) {
        if offset < self.size && self.is_taken(offset) {
            self.taken[(offset / 64) as usize] &= !(1 << (offset % 64));
            self.used -= 1;
        }
    }

    /// After a restart: go on behind the highest offset that is taken, as the
    /// cursor of the previous daemon would have.
    pub(crate) fn continue_after(&mut self, offset: u32) {
        self.cursor = (offset + 1) % self.size;
    }

    fn is_taken(&self, offset: u32) -> bool {
        self.taken[(offset / 64) as usize] & (1 << (offset % 64)) != 0
    }

    /// The first free offset in `from..to`, a word at a time.
    fn free_from(&self, from: u32, to: u32) -> Option<u32> {
        let mut at = from;
        while at < to {
            let word = !self.taken[(at / 64) as usize] >> (at % 64);
            if word != 0 {
                let found = at + word.trailing_zeros();
                return (found < to).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_recycles_late() {
        let mut pool = Pool::new(24);
        assert!(pool.reserve(1));
        let given: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(given, (2..255).collect::<Vec<_>>());
        for offset in [7, 3, 200] {
            pool.release(offset);
        }
        pool.release(3);
        pool.release(9999);
        assert_eq!(pool.allocate(), Some(3));
        pool.release(3);
        assert_eq!(pool.allocate(), Some(7), "3 comes last, though it is free");
        assert_eq!(pool.allocate(), Some(200));
        assert_eq!(pool.allocate(), Some(3));
        assert_eq!(pool.allocate(), None);
    }

    #[test]
    fn sizes() {
        let count = |prefix| {
            let mut pool = Pool::new(prefix);
            std::iter::from_fn(|| pool.allocate()).count()
        };
        assert_eq!(count(30), 2);
        assert_eq!(count(29), 6);
        assert_eq!(count(16), 65534);
        assert_eq!(count(8), 65535, "only the first 65,536 of a larger subnet");
        assert!(!Pool::new(24).reserve(256));
        let mut pool = Pool::new(29);
        pool.continue_after(6);
        assert_eq!(pool.allocate(), Some(1));
        assert_eq!(pool.used, 3);
    }
}
