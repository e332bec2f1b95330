//! The kernel's side: runs a program on one `struct seccomp_data`.

use crate::SockFilter;
use crate::arch::Abi;

/// A system call, as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) audit: u32,
    pub(crate) args: [u64; 6],
}

impl Call {
    pub(crate) fn new(abi: Abi, number: u32, args: &[u64]) -> Self {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        Self {
            number,
            audit: abi.audit(),
            args: all,
        }
    }

    pub(crate) fn named(abi: Abi, name: &str, args: &[u64]) -> Self {
        Self::new(
            abi,
            crate::arch::Call::find(name)
                .and_then(|call| abi.number(call))
                .expect("a known name"),
            args,
        )
    }

    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 => {
                let argument = self.args[(offset as usize - 16) / 8];
                match offset % 8 {
                    0 => argument as u32,
                    4 => (argument >> 32) as u32,
                    _ => panic!("unaligned load at {offset}"),
                }
            }
            _ => panic!("load outside of what is tested: {offset}"),
        }
    }
}

/// Return value, and how many instructions it took.
pub(crate) fn run(program: &[SockFilter], call: &Call) -> (u32, usize) {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1.. {
        let SockFilter { code, jt, jf, k } = program[at];
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1 + match code {
            0x20 => {
                accumulator = call.word(k);
                0
            }
            0x54 => {
                accumulator &= k;
                0
            }
            0x05 => k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return (k, steps),
            _ => panic!("instruction {code:#x}"),
        };
    }
    unreachable!("all jumps go forward")
}
