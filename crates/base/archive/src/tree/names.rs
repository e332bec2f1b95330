//! Names in one directory, without an allocation each.

/// A list of names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Where each name begins and ends in `bytes`.
    ranges: Vec<(u32, u32)>,
}

impl Names {
    pub(crate) fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(name);
        self.ranges.push((start, self.bytes.len() as u32));
    }

    /// Orders the names so that [`Names::pop`] gives the smallest first.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |&(start, end): &(u32, u32)| &bytes[start as usize..end as usize];
        self.ranges.sort_unstable_by(|a, b| name(b).cmp(name(a)));
    }

    /// Takes the last one.
    pub(crate) fn pop(&mut self) -> Option<&[u8]> {
        let (start, end) = self.ranges.pop()?;
        Some(&self.bytes[start as usize..end as usize])
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }
}
