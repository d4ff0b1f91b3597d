//! Lookups and sums of products into CLIF. Several shapes are recognised by Cranelift's lowering only in exactly this form
//! and operand order (`vpdpbusd`, `usdot`, `pmaddwd`); tests look for the instructions.

use super::emit::Emit;
use super::features::Arch;
use crate::vector::ir::{Type, Value};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};

impl Emit<'_, '_> {
    /// One byte of a table.
    pub(super) fn lookup(&mut self, table: Value, index: Value) -> ir::Value {
        let (table, index) = (self.one(table), self.one(index));
        let vector = self.low_part(index, types::I8X16);
        let found = self.table_bytes(table, vector);
        self.b.ins().extractlane(found, 0)
    }

    pub(super) fn table_bytes(&mut self, table: ir::Value, index: ir::Value) -> ir::Value {
        match self.features.arch {
            Arch::Aarch64 => self.b.ins().swizzle(table, index),
            Arch::X86_64 if self.features.ssse3 => self.b.ins().x86_pshufb(table, index),
            Arch::X86_64 => {
                // One entry after the other: entry where the index is its number.
                let zero = self.constant(types::I8X16, vec![0; 16]);
                (0..16).fold(zero, |sum, n| {
                    let number = self.constant(types::I8X16, vec![n; 16]);
                    let here = self.b.ins().icmp(IntCC::Equal, index, number);
                    let entry = self.b.ins().extractlane(table, n);
                    let entries = self.b.ins().splat(types::I8X16, entry);
                    let found = self.b.ins().band(here, entries);
                    self.b.ins().bor(sum, found)
                })
            }
        }
    }

    pub(super) fn mul_pairs_u8s8(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        if self.features.arch == Arch::X86_64 && self.features.ssse3 {
            return self.b.ins().x86_pmaddubsw(b, a);
        }
        let (al, ah) = (self.b.ins().uwiden_low(a), self.b.ins().uwiden_high(a));
        let (bl, bh) = (self.b.ins().swiden_low(b), self.b.ins().swiden_high(b));
        let (low, high) = (self.b.ins().imul(al, bl), self.b.ins().imul(ah, bh));
        let pick = |odd: u8| -> Vec<u8> {
            (0..8)
                .flat_map(|l| [l * 4 + odd * 2, l * 4 + odd * 2 + 1])
                .collect()
        };
        let even = self.shuffle(low, high, pick(0), types::I16X8);
        let odd = self.shuffle(low, high, pick(1), types::I16X8);
        self.b.ins().sadd_sat(even, odd)
    }

    /// Products of i16 over 2^15, rounded.
    pub(super) fn mul_high(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        if self.is_vector(a) && self.features.arch == Arch::X86_64 && self.features.ssse3 {
            return self.b.ins().x86_pmulhrsw(a, b);
        }
        let round = |emit: &mut Self, x: ir::Value, y: ir::Value, ty: ir::Type| {
            let product = emit.b.ins().imul(x, y);
            let half = match ty.is_vector() {
                true => emit.constant(ty, (1i32 << 14).to_le_bytes().repeat(4)),
                false => emit.b.ins().iconst(ty, 1 << 14),
            };
            let sum = emit.b.ins().iadd(product, half);
            // 17 bits are left, of which the highest is not kept.
            let low = emit.b.ins().ishl_imm_u(sum, 1);
            emit.b.ins().sshr_imm_u(low, 16)
        };
        if !self.is_vector(a) {
            let (x, y) = (
                self.b.ins().sextend(types::I32, a),
                self.b.ins().sextend(types::I32, b),
            );
            let rounded = round(self, x, y, types::I32);
            return self.b.ins().ireduce(types::I16, rounded);
        }
        let (al, ah) = (self.b.ins().swiden_low(a), self.b.ins().swiden_high(a));
        let (bl, bh) = (self.b.ins().swiden_low(b), self.b.ins().swiden_high(b));
        let (low, high) = (
            round(self, al, bl, types::I32X4),
            round(self, ah, bh, types::I32X4),
        );
        self.b.ins().snarrow(low, high)
    }

    pub(super) fn mul_pairs_s16(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        let (al, bl) = (self.b.ins().swiden_low(a), self.b.ins().swiden_low(b));
        let low = self.b.ins().imul(al, bl);
        let (ah, bh) = (self.b.ins().swiden_high(a), self.b.ins().swiden_high(b));
        let high = self.b.ins().imul(ah, bh);
        self.b.ins().iadd_pairwise(low, high)
    }

    pub(super) fn dot(
        &mut self,
        ty: Type,
        acc: Value,
        a: Value,
        b: Value,
        signed: bool,
    ) -> Vec<ir::Value> {
        let scalar_acc = ty.lanes == 1;
        let mut acc = self.parts(acc);
        if scalar_acc {
            acc = vec![self.low_part(acc[0], types::I32X4)];
        }
        let part = |(p, acc)| {
            let (a, b) = (self.part(a, p), self.part(b, p));
            self.dot_part(acc, a, b, signed)
        };
        let parts: Vec<ir::Value> = acc.into_iter().enumerate().map(part).collect();
        if scalar_acc {
            vec![self.b.ins().extractlane(parts[0], 0)]
        } else {
            parts
        }
    }

    /// Four neighbouring products each, added to the accumulator.
    fn dot_part(&mut self, acc: ir::Value, a: ir::Value, b: ir::Value, signed: bool) -> ir::Value {
        let x86 = self.features.arch == Arch::X86_64;
        let vnni = self.features.avx512vnni || self.features.avxvnni;
        let (al, ah) = match signed {
            true => (self.b.ins().swiden_low(a), self.b.ins().swiden_high(a)),
            false => (self.b.ins().uwiden_low(a), self.b.ins().uwiden_high(a)),
        };
        let (bl, bh) = (self.b.ins().swiden_low(b), self.b.ins().swiden_high(b));
        if x86 && (signed || !vnni) {
            let (low, high) = (self.mul_pairs_s16(al, bl), self.mul_pairs_s16(ah, bh));
            let four = self.b.ins().iadd_pairwise(low, high);
            // The accumulator first: two-address code then adds to it in place.
            return self.b.ins().iadd(acc, four);
        }
        // The tree that `vpdpbusd` (signed factor first), `usdot` (unsigned first) and `sdot` are selected for; the
        // accumulator is the second operand. Elsewhere it is exact as it stands: products fit 16 bits, pairs fit 32.
        let (low, high) = match x86 {
            true => (self.b.ins().imul(bl, al), self.b.ins().imul(bh, ah)),
            false => (self.b.ins().imul(al, bl), self.b.ins().imul(ah, bh)),
        };
        let (ll, lh) = (self.b.ins().swiden_low(low), self.b.ins().swiden_high(low));
        let (hl, hh) = (
            self.b.ins().swiden_low(high),
            self.b.ins().swiden_high(high),
        );
        let (low, high) = (
            self.b.ins().iadd_pairwise(ll, lh),
            self.b.ins().iadd_pairwise(hl, hh),
        );
        let four = self.b.ins().iadd_pairwise(low, high);
        self.b.ins().iadd(four, acc)
    }
}
