//! Tables: scaling a table of fractions to integers, making it unsigned, and looking up in registers or memory.

use crate::rewrite::lang::Ty;
use crate::rewrite::rule::{Bind::*, Rule, When::*};

/// The rules of this file.
pub const RULES: &[Rule] = &[
    Rule {
        name: "scale-table",
        left: "(lookup ?t ?c)",
        right: "(mul ?f (lookup ?u ?c))",
        when: &[],
        bind: &[ScaleTable("?u", "?f", "?t")],
        why: "a table of halves or sixteenths is exact in int8 after a power of two (E2M1 doubled)",
    },
    Rule {
        name: "offset-table",
        left: "(lookup ?t ?c)",
        right: "(add (lookup ?u ?c) ?z)",
        when: &[],
        bind: &[OffsetTable("?u", "?z", "?t")],
        why: "unsigned × signed dot products want the weights unsigned",
    },
    Rule {
        name: "bias-byte",
        left: "(ld ?x)",
        right: "(add (biased (ld ?x)) -128)",
        when: &[SignedByteLoad("?x"), OverRows("?x")],
        bind: &[],
        why: "the same for signed bytes that are stored as they are; one factor is enough, the one over rows",
    },
    Rule {
        name: "lookup-bytes",
        left: "(vec ?l i8 (lookup ?t ?c))",
        right: "(v.lookup8 i8 ?t (vec ?l u8 ?c))",
        when: &[TableFits("?t", Ty::I8), Fits("?c", Ty::U8)],
        bind: &[],
        why: "sixteen entries are one register",
    },
    Rule {
        name: "lookup-unsigned-bytes",
        left: "(vec ?l u8 (lookup ?t ?c))",
        right: "(v.lookup8 u8 ?t (vec ?l u8 ?c))",
        when: &[TableFits("?t", Ty::U8), Fits("?c", Ty::U8)],
        bind: &[],
        why: "sixteen entries are one register",
    },
    Rule {
        name: "lookup-floats",
        left: "(vec ?l f32 (lookup ?t ?c))",
        right: "(v.lookup32 ?t (vec ?l u8 ?c))",
        when: &[Fits("?c", Ty::U8)],
        bind: &[],
        why: "an f32 is four bytes, each from a table of its own; planes that are all zero cost nothing",
    },
    Rule {
        name: "fetch",
        left: "(vec ?l f32 (elem ?x ?c))",
        right: "(v.fetch ?x (vec ?l i32 ?c))",
        when: &[Tabular("?x")],
        bind: &[],
        why: "any element of up to 16 bits is a table in memory",
    },
    Rule {
        name: "decode",
        left: "(vec ?l f32 (elem ?x ?c))",
        right: "(v.decode ?x (vec ?l i32 ?c))",
        when: &[Arithmetic("?x")],
        bind: &[],
        why: "a small float is a shift and an exact product away from an f32",
    },
];
