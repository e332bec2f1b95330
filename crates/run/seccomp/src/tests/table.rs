//! The table is in order, and has the numbers of the machine's headers.

use std::fs;

use crate::arch::{Abi, Call, X32_BIT};
use crate::table::ROWS;

#[test]
fn names_are_in_order() {
    assert!(ROWS.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn numbers_are_those_of_the_kernel_headers() {
    let headers = [
        (Abi::X86_64, "unistd_64.h"),
        (Abi::X86, "unistd_32.h"),
        (Abi::X32, "unistd_x32.h"),
    ];
    for (abi, file) in headers {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/{file}");
        let Ok(text) = fs::read_to_string(&path) else {
            println!("SKIP: no {path}");
            continue;
        };
        let mut compared = 0;
        for line in text.lines() {
            let Some((name, number)) = line
                .strip_prefix("#define __NR_")
                .and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let number = number
                .trim_start_matches("(__X32_SYSCALL_BIT + ")
                .trim_end_matches(')');
            let Ok(number) = number.trim().parse::<u32>() else {
                continue;
            };
            let number = match abi {
                Abi::X32 => number | X32_BIT,
                _ => number,
            };
            let ours = Call::find(name).and_then(|call| abi.number(call));
            assert_eq!(ours, Some(number), "{name} on {abi:?}");
            compared += 1;
        }
        assert!(compared > 300, "{path} has only {compared} calls");
    }
}
