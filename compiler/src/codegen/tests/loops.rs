//! What hot loops do not spend instructions on: loads that another instruction does on the way, and values that leave their
//! registers and come back.

use super::in_loop;
use crate::codegen::{Features, ListingFacts, listing};
use crate::vector::build::Builder;
use crate::vector::ir::{Bin, Elem, Function, Op, Shift, Type, Value};

const BYTES: Type = Type::new(Elem::I8, 16);
const SUMS: Type = Type::new(Elem::I32, 4);

fn facts(function: &Function) -> (String, ListingFacts) {
    let features = Features::x86_64_vnni();
    let text = listing(function, &features).expect("code");
    let facts = ListingFacts::of(&text, features.arch);
    (text, facts)
}

/// Instructions of the loop that read memory, with their names.
fn reading(facts: &ListingFacts, mnemonic: &str) -> usize {
    let named = |l: &&String| l.split_whitespace().next() == Some(mnemonic) && l.contains('(');
    facts.inner.iter().filter(named).count()
}

/// Four neighbours of the second buffer in every group of four lanes.
fn activations(b: &mut Builder, at: [Value; 3], place: i32) -> Value {
    let four = b.load(Type::new(Elem::I8, 4), at[1], 4 * place);
    b.push(BYTES, Op::Tile(four))
}

fn dot(b: &mut Builder, sum: Value, codes: Value, activations: Value) -> Value {
    b.dot4_u8s8(sum, codes, activations)
}

#[test]
fn a_number_for_all_lanes_is_spread_by_its_load_however_often_it_is_used() {
    let function = in_loop(&[SUMS; 4], |b, at, sums| {
        let x = activations(b, at, 0);
        for (row, sum) in sums.iter_mut().enumerate() {
            let w = b.load(BYTES, at[0], 16 * row as i32);
            *sum = dot(b, *sum, w, x);
        }
    });
    let (text, facts) = facts(&function);
    assert_eq!(reading(&facts, "vbroadcastss"), 1, "{text}");
    assert!(!facts.has("vmovss"), "{text}");
}

#[test]
fn a_constant_without_a_register_is_an_operand_in_memory() {
    let function = in_loop(&[SUMS; 14], |b, at, sums| {
        for (row, sum) in sums.iter_mut().enumerate() {
            let x = b.load(SUMS, at[0], 16 * (row % 4) as i32);
            let mask = b.push(SUMS, Op::IConst(0xfff0 + row as i64));
            let masked = b.push(SUMS, Op::Bin(Bin::And, x, mask));
            *sum = b.iadd(*sum, masked);
        }
    });
    let (text, facts) = facts(&function);
    assert!(reading(&facts, "vpand") >= 12, "{text}");
    assert_eq!(facts.stack_accesses, 0, "{text}");
}

/// Eight sums, two codes in each byte, four rows of weights and a table of values: given code by code, four rows would be in
/// registers at once, and there would be none for the table.
#[test]
fn weights_are_used_up_before_the_next_are_loaded() {
    let function = in_loop(&[SUMS; 8], |b, at, sums| {
        let table = (0..16).map(|n| n * n % 200).collect();
        let table = b.push_at(0, BYTES, Op::VConst(table));
        let mask = b.push_at(0, BYTES, Op::IConst(15));
        let mut weights = Vec::new();
        let (_, parts) = sums.split_at_mut(4);
        for half in 0..2 {
            let x = activations(b, at, half);
            for (row, part) in parts.iter_mut().enumerate() {
                if half == 0 {
                    weights.push(b.load(BYTES, at[0], 16 * row as i32));
                }
                let moved = b.push(BYTES, Op::Shift(Shift::UShr, weights[row], 4 * half as u8));
                let codes = b.push(BYTES, Op::Bin(Bin::And, moved, mask));
                let values = b.lookup(table, codes);
                *part = dot(b, *part, values, x);
            }
        }
    });
    let (text, facts) = facts(&function);
    // The rows of weights, and nothing else.
    assert_eq!(reading(&facts, "vmovdqu"), 4, "{text}");
    assert_eq!(facts.stack_accesses, 0, "{text}");
}
