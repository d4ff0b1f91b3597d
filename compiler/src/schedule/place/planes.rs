//! Bit planes: codes as the sums of what their bits are worth, where neighbours' bits are looked up or counted together.

use super::Placer;
use crate::format::{BitWorths, BlockFormat, Element, Field, Scope};
use crate::schedule::cuts::few_bits;
use crate::schedule::fit::FieldAccess;
use crate::schedule::in_place::parts_of;
use crate::schedule::index::Affine;
use crate::schedule::layout::COUNTED;
use crate::schedule::term::{BitField, Term, TermId, Unit};
use crate::spec::kernel::TensorId;

impl Placer<'_> {
    /// What the bits of a field are worth, if its codes are taken bit by bit: integers where joint codes have one bit of each
    /// neighbour, and all codes of few bits where products of bits are counted.
    pub(super) fn planes(&self, block: &BlockFormat, field: &Field) -> Option<BitWorths> {
        let own = field.scope == Scope::Block && field.count == block.len;
        let integer = matches!(field.element, Element::Int { .. } | Element::UInt { .. });
        let joint = integer && field.parts.iter().all(|p| p.bits == 1);
        match self.plan.joint() {
            _ if !own => None,
            1 => None,
            COUNTED => self.counted(&field.element),
            _ if joint => field.element.bit_worths(),
            _ => None,
        }
    }

    /// What the bits of an element are worth, if products of bits are counted and it has few.
    pub(super) fn counted(&self, element: &Element) -> Option<BitWorths> {
        let counted = self.plan.joint() == COUNTED;
        counted.then(|| few_bits(element))?
    }

    /// A code that is a number in memory, bit by bit.
    pub(super) fn in_planes(&mut self, planes: &BitWorths, code: TermId) -> TermId {
        let mut parts = Vec::new();
        for (up, worth) in (0..).zip(&planes.bits) {
            let bit = BitField::bit(Affine::constant(up));
            let bit = self.terms.bits(bit, code);
            parts.push(self.worth(*worth, bit));
        }
        self.sum_of_bits(planes.zero, parts)
    }

    /// The value of a code from what its bits are worth.
    pub(super) fn sum_of_bits(&mut self, zero: f64, mut parts: Vec<TermId>) -> TermId {
        if zero != 0.0 {
            parts.push(self.terms.add(Term::Const(zero)));
        }
        self.terms.add(Term::Add(parts))
    }

    /// Bits as a number of their own.
    pub(super) fn bit(&mut self, tensor: TensorId, access: FieldAccess) -> TermId {
        let field = access.field.map(|field| BitField {
            up: Affine::constant(0),
            ..field
        });
        self.part(tensor, 0, FieldAccess { field, ..access })
    }

    /// One bit of a code, as what it is worth.
    pub(super) fn plane(
        &mut self,
        tensor: TensorId,
        planes: &BitWorths,
        up: u32,
        access: FieldAccess,
    ) -> TermId {
        let bit = self.part(tensor, 0, access);
        let worth = planes.bits.get(up as usize).copied().unwrap_or(0.0);
        self.worth(worth, bit)
    }

    /// What the parts of a field are worth, if its codes are read where they lie.
    pub(super) fn in_place(&self, block: &BlockFormat, field: &Field) -> Option<(f64, Vec<f64>)> {
        self.plan.reads_in_place().then(|| parts_of(block, field))?
    }

    /// A part of a code, as what it is worth, read where it lies.
    pub(super) fn part_in_place(
        &mut self,
        tensor: TensorId,
        worth: f64,
        access: FieldAccess,
    ) -> TermId {
        let field = access.field.as_ref();
        let Some(kept) = field.and_then(|field| field.in_place(&self.axes)) else {
            let part = self.bit(tensor, access);
            return self.worth(worth, part);
        };
        let access = FieldAccess {
            field: Some(kept.clone()),
            ..access
        };
        let part = self.part(tensor, 0, access);
        let unit = self.terms.unit(Unit {
            bits: kept.up,
            times: None,
        });
        let part = self.terms.add(Term::Mul(vec![unit, part]));
        self.worth(worth, part)
    }

    fn worth(&mut self, worth: f64, bit: TermId) -> TermId {
        let worth = self.terms.add(Term::Const(worth));
        self.terms.add(Term::Mul(vec![worth, bit]))
    }
}

impl FieldAccess {
    /// One bit of what is read.
    pub(super) fn bit(&self, at: u32) -> FieldAccess {
        let field = self.field.as_ref();
        let shift = field.map_or_else(|| Affine::constant(0), |field| field.shift.clone());
        let shift = shift.plus(&Affine::constant(u64::from(at)));
        FieldAccess {
            field: Some(BitField::bit(shift)),
            ..self.clone()
        }
    }
}
