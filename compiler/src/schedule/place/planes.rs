//! Bit planes: codes as the sums of what their bits are worth, where neighbours' bits are looked up or counted together.

use super::Placer;
use crate::format::{BitWorths, BlockFormat, Element, Field, Scope};
use crate::schedule::cuts::few_bits;
use crate::schedule::fit::FieldAccess;
use crate::schedule::in_place::{InPlace, kept_up};
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
    pub(super) fn in_place(&self, block: &BlockFormat, field: &Field) -> Option<InPlace> {
        self.plan
            .reads_in_place()
            .then(|| InPlace::of(block, field))?
    }

    /// The parts of a code, as what they are worth, read where they lie: each alone, or all together where most codes lie whole.
    pub(super) fn codes_in_place(
        &mut self,
        tensor: TensorId,
        in_place: &InPlace,
        accesses: &[(u32, FieldAccess)],
    ) -> Option<Vec<TermId>> {
        if let [worth] = in_place.worths[..]
            && accesses.len() > 1
        {
            return Some(vec![self.code_in_place(tensor, worth, accesses)?]);
        }
        let alone = accesses.iter().zip(&in_place.worths);
        let part = |((_, access), worth): (&(u32, FieldAccess), &f64)| {
            self.part_in_place(tensor, *worth, access.clone())
        };
        Some(alone.map(part).collect())
    }

    /// A code of several parts, as what it is worth, read where most of its parts lie side by side; `None` where that is not
    /// known for the rows alone.
    fn code_in_place(
        &mut self,
        tensor: TensorId,
        worth: f64,
        parts: &[(u32, FieldAccess)],
    ) -> Option<TermId> {
        let fields = parts
            .iter()
            .map(|(up, access)| Some((*up, access.field.as_ref()?)));
        let fields = fields.collect::<Option<Vec<(u32, &BitField)>>>()?;
        let bits: u32 = fields.iter().map(|(_, field)| u32::from(field.width)).sum();
        let kept = kept_up(&fields.first()?.1.shift, bits, &self.axes)?;
        let most = kept.most(&self.axes)? as u32;
        let in_place = fields.iter().map(|(up, field)| BitField {
            up: kept.clone().plus(&Affine::constant(u64::from(*up))),
            ..BitField::clone(field)
        });
        let in_place: Vec<BitField> = in_place.collect();
        let parts = parts.iter().zip(in_place).map(|((_, access), field)| {
            let access = FieldAccess {
                field: Some(field),
                ..access.clone()
            };
            self.part(tensor, 0, access)
        });
        let parts = parts.collect();
        let code = self.terms.add(Term::Add(parts));
        // One number: products are not distributed over its parts.
        let element = Element::UInt {
            bits: (bits + most) as u8,
        };
        let code = self.terms.element(&element, code);
        Some(self.in_units(worth, kept, code))
    }

    /// What a number is worth that was left so far up.
    fn in_units(&mut self, worth: f64, bits: Affine, number: TermId) -> TermId {
        let unit = self.terms.unit(Unit { bits, times: None });
        let number = self.terms.add(Term::Mul(vec![unit, number]));
        self.worth(worth, number)
    }

    /// A part of a code, as what it is worth, read where it lies.
    fn part_in_place(&mut self, tensor: TensorId, worth: f64, access: FieldAccess) -> TermId {
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
        self.in_units(worth, kept.up, part)
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
