//! Netlink's framing: `nlmsghdr` and `nlattr`, written and read.
//!
//! Layouts: `include/uapi/linux/netlink.h`. Reading never panics and never
//! reads outside what the kernel handed over; a malformed tail ends the
//! iteration.

use super::NESTED;

/// Bytes of an `nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of an `nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// What `nla_type` carries beside the type: `NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;

fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// Messages that are sent together, in one system call.
#[derive(Debug)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    next_sequence: u32,
}

impl Messages {
    /// An empty list whose first message gets `first_sequence`.
    pub(crate) fn new(first_sequence: u32) -> Self {
        Self {
            bytes: Vec::new(),
            next_sequence: first_sequence,
        }
    }

    /// Appends one message; answers its sequence number.
    pub(crate) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        body(&mut Attributes(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        sequence
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn next_sequence(&self) -> u32 {
        self.next_sequence
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(align(bytes.len()), 0);
}

/// Where the attributes of a message, or of a nest, are written.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// The payload as it is.
    pub(crate) fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.attribute(kind, |bytes| bytes.extend_from_slice(payload))
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// In the machine's byte order, as rtnetlink has it.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as nfnetlink has it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With the terminating NUL that the kernel's strings carry.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.attribute(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        })
    }

    /// A nest, marked as one.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.attribute(kind | NESTED, |bytes| body(&mut Attributes(bytes)))
    }

    /// Bytes of a fixed structure before the attributes of a nest
    /// (`VETH_INFO_PEER` starts with an `ifinfomsg`).
    pub(crate) fn structure(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        pad(self.0);
        self
    }

    fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        body(self.0);
        let length = u16::try_from(self.0.len() - start)
            .expect("invariant: callers bound their lists so that a nest stays below 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.0);
        self
    }
}

/// One message as the kernel sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of `bytes` and what follows it; `None` at the end and
    /// where the length field cannot be true.
    pub(crate) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = u32_at(bytes, 0)? as usize;
        if length < HEADER || length > bytes.len() {
            return None;
        }
        let message = Self {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload: &bytes[HEADER..length],
        };
        Some((message, bytes.get(align(length)..).unwrap_or_default()))
    }
}

/// The attributes in `bytes`, their flags masked off.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        if length < ATTRIBUTE_HEADER || length > bytes.len() {
            return None;
        }
        let payload = &bytes[ATTRIBUTE_HEADER..length];
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The payload of the first attribute of that kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, payload)| payload)
}

/// A string of the kernel, without its NUL.
pub(crate) fn text(payload: &[u8]) -> String {
    let end = payload
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut messages = Messages::new(7);
        messages.push(1, 2, &[9, 9, 9], |body| {
            body.text(1, "eth0").nest(2, |nest| {
                nest.u8(3, 4).u32(4, 5);
            });
        });
        messages.push(3, 0, &[], |_| ());
        let (first, rest) = Message::split(messages.bytes()).unwrap();
        assert_eq!((first.kind, first.flags, first.sequence), (1, 2, 7));
        let found: Vec<_> = attributes(&first.payload[4..]).collect();
        assert_eq!(text(found[0].1), "eth0");
        assert_eq!(found[1].0, 2);
        assert_eq!(attribute(found[1].1, 4), Some(&5u32.to_ne_bytes()[..]));
        let (second, rest) = Message::split(rest).unwrap();
        assert_eq!((second.kind, second.sequence, rest.len()), (3, 8, 0));
        assert!(Message::split(rest).is_none());
    }

    #[test]
    fn hostile_lengths_end_the_iteration() {
        for bytes in [
            &[][..],
            &[0, 0, 0, 0],
            &[3, 0, 1, 0, 0],
            &[200, 0, 1, 0, 1, 2, 3],
            &[255, 255, 255, 255],
        ] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
            assert!(Message::split(bytes).is_none(), "{bytes:?}");
        }
        let mut message = vec![0u8; 20];
        message[0] = 21;
        assert!(Message::split(&message).is_none());
        message[0] = 15;
        assert!(Message::split(&message).is_none());
        // Every truncation and every single-byte change of a real message.
        let mut messages = Messages::new(1);
        messages.push(1, 0, &[0; 4], |body| {
            body.nest(1, |nest| {
                nest.text(2, "carrack0").bytes(3, &[1; 7]);
            });
        });
        let good = messages.bytes().to_vec();
        for length in 0..good.len() {
            walk(&good[..length]);
        }
        for at in 0..good.len() {
            for value in [0, 1, 3, 4, 5, 127, 255] {
                let mut bad = good.clone();
                bad[at] = value;
                walk(&bad);
            }
        }
    }

    fn walk(mut bytes: &[u8]) {
        while let Some((message, rest)) = Message::split(bytes) {
            for (_, payload) in attributes(message.payload.get(4..).unwrap_or_default()) {
                let _ = attributes(payload).count();
                let _ = text(payload);
            }
            bytes = rest;
        }
    }
}
