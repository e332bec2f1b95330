//! The expressions our rules are made of, one method each, in the order in
//! which `nft` writes their attributes.

use crate::netlink::Attributes;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// `NFT_REG_1`, 16 bytes; also the first of the 4-byte registers it consists of.
pub(super) const REG: u32 = 1;
/// `NFT_REG_2`, the 16 bytes after it.
pub(super) const REG_2: u32 = 2;
/// `NFT_REG32_01`, the second 4 bytes of `NFT_REG_1`.
pub(super) const REG32_1: u32 = 9;
/// `NFT_REG32_02`, the third.
pub(super) const REG32_2: u32 = 10;
/// `NFT_REG32_05`, the second 4 bytes of `NFT_REG_2`.
pub(super) const REG32_5: u32 = 13;

/// What `meta` loads.
#[derive(Clone, Copy)]
pub(super) enum Meta {
    Protocol = 1,
    InputName = 6,
    OutputName = 7,
    NetworkProtocol = 15,
    TransportProtocol = 16,
    InputGroup = 21,
}

/// What `ct` loads.
#[derive(Clone, Copy)]
pub(super) enum Ct {
    State = 0,
    Status = 2,
}

/// How `cmp` compares, and whether a lookup is inverted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    Is,
    IsNot,
}

/// Where `payload` starts to count.
#[derive(Clone, Copy)]
pub(super) enum Base {
    Network = 1,
    Transport = 2,
}

/// What a rule ends with.
#[derive(Clone, Copy)]
pub(super) enum Verdict<'a> {
    Accept,
    Drop,
    Jump(&'a str),
}

/// A named set as a lookup of the same transaction refers to it.
#[derive(Clone, Copy)]
pub(super) struct SetRef {
    pub(super) name: &'static str,
    pub(super) id: u32,
}

/// Writes the expressions of one rule.
pub(super) struct Expressions<'a, 'b>(pub(super) &'a mut Attributes<'b>);

impl Expressions<'_, '_> {
    fn push(&mut self, name: &str, data: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.0.nest(NFTA_LIST_ELEM, |element| {
            element
                .text(NFTA_EXPR_NAME, name)
                .nest(NFTA_EXPR_DATA, data);
        });
        self
    }

    pub(super) fn meta(&mut self, key: Meta, register: u32) -> &mut Self {
        const DREG: u16 = 1;
        const KEY: u16 = 2;
        self.push("meta", |data| {
            data.be32(KEY, key as u32).be32(DREG, register);
        })
    }

    pub(super) fn ct(&mut self, key: Ct) -> &mut Self {
        const DREG: u16 = 1;
        const KEY: u16 = 2;
        self.push("ct", |data| {
            data.be32(KEY, key as u32).be32(DREG, REG);
        })
    }

    /// The type of the destination address: local, unicast, broadcast, …
    pub(super) fn fib_destination_type(&mut self) -> &mut Self {
        const DREG: u16 = 1;
        const RESULT: u16 = 2;
        const FLAGS: u16 = 3;
        const ADDRTYPE: u32 = 3;
        const DADDR: u32 = 2;
        self.push("fib", |data| {
            data.be32(FLAGS, DADDR)
                .be32(RESULT, ADDRTYPE)
                .be32(DREG, REG);
        })
    }

    pub(super) fn compare(&mut self, sense: Sense, value: &[u8]) -> &mut Self {
        const SREG: u16 = 1;
        const OP: u16 = 2;
        const DATA: u16 = 3;
        self.push("cmp", |data| {
            data.be32(SREG, REG)
                .be32(OP, u32::from(sense == Sense::IsNot))
                .nest(DATA, |value_of| {
                    value_of.bytes(NFTA_DATA_VALUE, value);
                });
        })
    }

    pub(super) fn payload(
        &mut self,
        base: Base,
        offset: u32,
        length: u32,
        register: u32,
    ) -> &mut Self {
        const DREG: u16 = 1;
        const BASE: u16 = 2;
        const OFFSET: u16 = 3;
        const LEN: u16 = 4;
        self.push("payload", |data| {
            data.be32(DREG, register)
                .be32(BASE, base as u32)
                .be32(OFFSET, offset)
                .be32(LEN, length);
        })
    }

    /// `register & mask`.
    pub(super) fn mask(&mut self, mask: &[u8]) -> &mut Self {
        const SREG: u16 = 1;
        const DREG: u16 = 2;
        const LEN: u16 = 3;
        const MASK: u16 = 4;
        const XOR: u16 = 5;
        const OP: u16 = 6;
        const BOOL: u32 = 0;
        let length = u32::try_from(mask.len()).unwrap_or_default();
        self.push("bitwise", |data| {
            data.be32(SREG, REG)
                .be32(DREG, REG)
                .be32(OP, BOOL)
                .be32(LEN, length)
                .nest(MASK, |value| {
                    value.bytes(NFTA_DATA_VALUE, mask);
                })
                .nest(XOR, |value| {
                    value.bytes(NFTA_DATA_VALUE, &vec![0; mask.len()]);
                });
        })
    }

    /// Goes on where one of `bits` is set.
    pub(super) fn any_of(&mut self, bits: u32) -> &mut Self {
        const SREG: u16 = 1;
        const DREG: u16 = 2;
        const LEN: u16 = 3;
        const MASK: u16 = 4;
        const XOR: u16 = 5;
        self.push("bitwise", |data| {
            data.be32(SREG, REG)
                .be32(DREG, REG)
                .be32(LEN, 4)
                .nest(MASK, |value| {
                    value.u32(NFTA_DATA_VALUE, bits);
                })
                .nest(XOR, |value| {
                    value.u32(NFTA_DATA_VALUE, 0);
                });
        })
        .compare(Sense::IsNot, &0u32.to_ne_bytes())
    }

    /// Goes on where the register is, or is not, in the set.
    pub(super) fn lookup(&mut self, set: SetRef, sense: Sense) -> &mut Self {
        const SET: u16 = 1;
        const SREG: u16 = 2;
        const SET_ID: u16 = 4;
        const FLAGS: u16 = 5;
        const INVERTED: u32 = 1;
        self.push("lookup", |data| {
            data.be32(SREG, REG)
                .text(SET, set.name)
                .be32(SET_ID, set.id);
            if sense == Sense::IsNot {
                data.be32(FLAGS, INVERTED);
            }
        })
    }

    /// Goes on where the register is a key of the map, its value in the same
    /// register.
    pub(super) fn lookup_value(&mut self, map: SetRef) -> &mut Self {
        const SET: u16 = 1;
        const SREG: u16 = 2;
        const DREG: u16 = 3;
        const SET_ID: u16 = 4;
        self.push("lookup", |data| {
            data.be32(SREG, REG)
                .be32(DREG, REG)
                .text(SET, map.name)
                .be32(SET_ID, map.id);
        })
    }

    /// New destination: the address in `REG`, the port in `port_register`.
    pub(super) fn destination_nat(&mut self, family: u8, port_register: u32) -> &mut Self {
        const TYPE: u16 = 1;
        const FAMILY: u16 = 2;
        const REG_ADDR_MIN: u16 = 3;
        const REG_PROTO_MIN: u16 = 5;
        const DNAT: u32 = 1;
        self.push("nat", |data| {
            data.be32(TYPE, DNAT)
                .be32(FAMILY, u32::from(family))
                .be32(REG_ADDR_MIN, REG)
                .be32(REG_PROTO_MIN, port_register);
        })
    }

    /// New source: the address of the interface it leaves by.
    pub(super) fn masquerade(&mut self) -> &mut Self {
        self.push("masq", |_| ())
    }

    pub(super) fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        const DREG: u16 = 1;
        const DATA: u16 = 2;
        const NFT_REG_VERDICT: u32 = 0;
        const NF_DROP: u32 = 0;
        const NF_ACCEPT: u32 = 1;
        const NFT_JUMP: u32 = (-3i32).cast_unsigned();
        self.push("immediate", |data| {
            data.be32(DREG, NFT_REG_VERDICT).nest(DATA, |value| {
                value.nest(NFTA_DATA_VERDICT, |body| {
                    match verdict {
                        Verdict::Accept => body.be32(NFTA_VERDICT_CODE, NF_ACCEPT),
                        Verdict::Drop => body.be32(NFTA_VERDICT_CODE, NF_DROP),
                        Verdict::Jump(chain) => body
                            .be32(NFTA_VERDICT_CODE, NFT_JUMP)
                            .text(NFTA_VERDICT_CHAIN, chain),
                    };
                });
            });
        })
    }
}
