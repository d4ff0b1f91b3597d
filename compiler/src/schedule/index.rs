//! Axes and affine index expressions: what an index of the kernel became once it was split into loops, unrolled copies
//! and lanes. Splits remove `/` and `%`; where they cannot, a constant table takes their place.

use crate::vector::ir::Scalar;
use cranelift_entity::{PrimaryMap, entity_impl};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An axis of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisId(u32);
entity_impl!(AxisId, "a");

/// What became of a part of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AxisKind {
    /// A loop at run time.
    Loop,
    /// Copies beside each other in the code; its value is known where code is emitted.
    Unroll,
    /// Lanes of a vector.
    Lane,
}

/// What an axis is to tables that are made at a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TableAxis {
    /// Nothing.
    #[default]
    None,
    /// Its values are the neighbours whose codes make up a joint code.
    Joint,
    /// Its values number the entries.
    Entries,
}

/// A part of an index of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Name for people: the index and its part (`k.b`, `n.l`).
    pub name: String,
    /// Loop, copies or lanes.
    pub kind: AxisKind,
    /// First value.
    pub from: Scalar,
    /// One past the last value.
    pub to: Scalar,
    /// Distance of values.
    pub step: u64,
    /// One past the last value over all variants.
    pub full: Scalar,
    /// How many values it takes if known at compile time, else what the cost model assumes.
    pub nominal: u64,
    /// Whether it runs over results (rows, batch) rather than over a reduction.
    pub output: bool,
    /// Whether call-time values that leave it out are worth a stage: it runs over rows of weights.
    pub row: bool,
    /// Whether values of weights are worth a panel that is kept while it runs: it is a loop over results that no weights change
    /// with, and neither does a loop over results further in.
    pub batch: bool,
    /// Whether this loop starts and ends at the call's row range.
    pub ranged: bool,
    /// Whether sums over these lanes may be folded by dot products (the innermost lanes of a reduced index).
    pub folds: bool,
    /// What it is to tables.
    pub tables: TableAxis,
    /// Loops of one nest share a group: 0 for results, one for each reduced index, one for each tail.
    pub group: u32,
}

/// All axes of a schedule, in loop order: outermost first, lanes last.
pub type Axes = PrimaryMap<AxisId, Axis>;

/// A set of axes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisSet(pub u64);

impl AxisSet {
    /// How many axes there can be.
    pub const MOST: usize = u64::BITS as usize;
    /// The set of one axis.
    pub fn one(axis: AxisId) -> Self {
        AxisSet(1 << axis.as_u32())
    }
    /// Union.
    pub fn union(self, other: Self) -> Self {
        AxisSet(self.0 | other.0)
    }
    /// Intersection.
    pub fn intersect(self, other: Self) -> Self {
        AxisSet(self.0 & other.0)
    }
    /// Members of this set that are not in the other.
    pub fn minus(self, other: Self) -> Self {
        AxisSet(self.0 & !other.0)
    }
    /// Whether the axis is a member.
    pub fn has(self, axis: AxisId) -> bool {
        self.0 >> axis.as_u32() & 1 == 1
    }
    /// Whether it has no member.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Members in order.
    pub fn iter(self) -> impl Iterator<Item = AxisId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let first = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (first < u64::BITS).then(|| AxisId::from_u32(first))
        })
    }
}

impl fmt::Debug for AxisSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What an affine expression multiplies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sym {
    /// The value of an axis.
    Axis(AxisId),
    /// An entry of a constant table of u32 at an affine position.
    Table(Arc<Vec<u32>>, Box<Affine>),
    /// An expression over a constant, rounded down.
    Quotient(Box<Affine>, u64),
    /// What that leaves.
    Remainder(Box<Affine>, u64),
    /// The value of an integer tensor (by its position in the kernel) at a byte address; 4, 2 or 1 bytes, signed or not.
    Gather {
        /// Position of the index tensor in the kernel.
        tensor: u32,
        /// Byte address of the element.
        address: Box<Affine>,
        /// Bytes of an element.
        bytes: u8,
        /// Whether it is signed.
        signed: bool,
    },
}

/// `sum of coefficient * symbol + offset`; coefficients and the offset are known before the call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Affine {
    /// Terms, each symbol once, in order of symbols.
    pub terms: Vec<(Sym, Scalar)>,
    /// What is added.
    pub offset: Scalar,
}

impl Affine {
    /// A number.
    pub fn constant(value: u64) -> Self {
        Affine {
            terms: Vec::new(),
            offset: Scalar::Const(value),
        }
    }
    /// A number known before the call.
    pub fn scalar(value: Scalar) -> Self {
        Affine {
            terms: Vec::new(),
            offset: value,
        }
    }
    /// One symbol, once.
    pub fn symbol(sym: Sym) -> Self {
        Affine {
            terms: vec![(sym, Scalar::Const(1))],
            offset: Scalar::Const(0),
        }
    }
    /// One axis, times a number.
    pub fn axis(axis: AxisId, coefficient: u64) -> Self {
        Affine {
            terms: vec![(Sym::Axis(axis), Scalar::Const(coefficient))],
            offset: Scalar::Const(0),
        }
    }
    /// Sum.
    pub fn plus(mut self, other: &Affine) -> Self {
        for (sym, coefficient) in &other.terms {
            match self.terms.iter_mut().find(|(s, _)| s == sym) {
                Some((_, mine)) => *mine = add(mine.clone(), coefficient.clone()),
                None => self.terms.push((sym.clone(), coefficient.clone())),
            }
        }
        self.terms.sort();
        self.offset = add(self.offset, other.offset.clone());
        self
    }
    /// Every coefficient and the offset times a number.
    pub fn times(mut self, factor: &Scalar) -> Self {
        if *factor == Scalar::Const(0) {
            return Affine::constant(0);
        }
        for (_, coefficient) in &mut self.terms {
            *coefficient = mul(coefficient.clone(), factor.clone());
        }
        self.offset = mul(self.offset, factor.clone());
        self
    }
    /// The part that follows from the values of some axes: terms of others, and what is known at a call only, count as 0.
    pub fn known_part(&self, values: &BTreeMap<AxisId, u64>) -> u64 {
        let symbol = |sym: &Sym| match sym {
            Sym::Axis(axis) => values.get(axis).copied().unwrap_or(0),
            Sym::Table(entries, at) => {
                let at = at.known_part(values) as usize;
                entries.get(at).copied().map_or(0, u64::from)
            }
            Sym::Quotient(of, by) => of.known_part(values).checked_div(*by).unwrap_or(0),
            Sym::Remainder(of, by) => of.known_part(values).checked_rem(*by).unwrap_or(0),
            Sym::Gather { .. } => 0,
        };
        let constant = |scalar: &Scalar| match scalar {
            Scalar::Const(c) => *c,
            _ => 0,
        };
        let terms = self.terms.iter();
        terms.fold(constant(&self.offset), |sum, (sym, coefficient)| {
            sum.wrapping_add(symbol(sym).wrapping_mul(constant(coefficient)))
        })
    }
    /// The largest value, if it follows from the extents of axes and the entries of tables.
    pub fn most(&self, axes: &Axes) -> Option<u64> {
        let constant = |scalar: &Scalar| match scalar {
            Scalar::Const(c) => Some(*c),
            _ => None,
        };
        let symbol = |sym: &Sym| match sym {
            Sym::Axis(axis) => bound(&axes[*axis].to)?.checked_sub(1),
            Sym::Table(entries, _) => entries.iter().copied().max().map(u64::from),
            Sym::Quotient(..) | Sym::Remainder(..) | Sym::Gather { .. } => None,
        };
        self.terms
            .iter()
            .try_fold(constant(&self.offset)?, |sum, (sym, coefficient)| {
                sum.checked_add(symbol(sym)?.checked_mul(constant(coefficient)?)?)
            })
    }
    /// The axes it depends on.
    pub fn axes(&self) -> AxisSet {
        self.terms.iter().fold(AxisSet::default(), |set, (sym, _)| {
            set.union(match sym {
                Sym::Axis(a) => AxisSet::one(*a),
                Sym::Table(_, at) | Sym::Quotient(at, _) | Sym::Remainder(at, _) => at.axes(),
                Sym::Gather { address, .. } => address.axes(),
            })
        })
    }
    /// The coefficient of an axis, if the axis occurs as a plain term (0 if it does not occur at all).
    pub fn coefficient(&self, axis: AxisId) -> Option<Scalar> {
        let mut found = Scalar::Const(0);
        for (sym, coefficient) in &self.terms {
            match sym {
                Sym::Axis(a) if *a == axis => found = coefficient.clone(),
                Sym::Axis(_) => {}
                Sym::Table(_, at) | Sym::Quotient(at, _) | Sym::Remainder(at, _)
                    if at.axes().has(axis) =>
                {
                    return None;
                }
                Sym::Gather { address, .. } if address.axes().has(axis) => return None,
                Sym::Table(..) | Sym::Quotient(..) | Sym::Remainder(..) | Sym::Gather { .. } => {}
            }
        }
        Some(found)
    }
    /// The quotient by a constant, rounded down: by the splits of the axes as far as they go.
    pub fn over(&self, by: u64, axes: &Axes) -> Affine {
        // What the splits leave to be divided at run time: nothing, or the smallest that they can.
        let rests = (1..=by.min(1 << 12)).filter(|rest| by.is_multiple_of(*rest));
        let mut split = rests.filter_map(|rest| Some((self.divide(by / rest, axes)?.0, rest)));
        match split.next() {
            Some((quotient, 1)) => quotient,
            Some((quotient, rest)) => Affine::symbol(Sym::Quotient(Box::new(quotient), rest)),
            None => Affine::symbol(Sym::Quotient(Box::new(self.clone()), by)),
        }
    }
    /// Quotient and remainder by a constant, by the splits of the axes where they show them and else at run time.
    pub fn split(&self, by: u64, axes: &Axes) -> (Affine, Affine) {
        self.divide(by, axes).unwrap_or_else(|| {
            let rest = Sym::Remainder(Box::new(self.clone()), by);
            (self.over(by, axes), Affine::symbol(rest))
        })
    }
    /// Quotient and remainder by a constant, exact for every value of the axes; `None` where the splits do not show them.
    pub fn divide(&self, by: u64, axes: &Axes) -> Option<(Affine, Affine)> {
        if by == 1 {
            return Some((self.clone(), Affine::constant(0)));
        }
        let (mut quotient, mut rest) = (Affine::constant(0), Affine::constant(0));
        let mut largest = 0u64;
        for (sym, coefficient) in &self.terms {
            if let Some(q) = exact_quotient(coefficient, by) {
                quotient.terms.push((sym.clone(), q));
                continue;
            }
            let (Sym::Axis(axis), Scalar::Const(c)) = (sym, coefficient) else {
                return None;
            };
            let bound = bound(&axes[*axis].to)?;
            largest = largest.checked_add(c.checked_mul(bound.saturating_sub(1))?)?;
            rest.terms.push((sym.clone(), coefficient.clone()));
        }
        match exact_quotient(&self.offset, by) {
            Some(q) => quotient.offset = q,
            None => {
                let Scalar::Const(c) = self.offset else {
                    return None;
                };
                quotient.offset = Scalar::Const(c / by);
                rest.offset = Scalar::Const(c % by);
                largest = largest.checked_add(c % by)?;
            }
        }
        (largest < by).then_some((quotient, rest))
    }
}

/// The largest value a scalar can be shown to take.
fn bound(scalar: &Scalar) -> Option<u64> {
    match scalar {
        Scalar::Const(c) => Some(*c),
        Scalar::Rem(_, d) => Some(bound(d)?.saturating_sub(1)),
        Scalar::Min(a, b) => match (bound(a), bound(b)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        },
        Scalar::Dim(_)
        | Scalar::Add(..)
        | Scalar::Sub(..)
        | Scalar::Mul(..)
        | Scalar::Div(..)
        | Scalar::DivCeil(..) => None,
    }
}

/// `scalar / by` if `by` divides it for every extent.
fn exact_quotient(scalar: &Scalar, by: u64) -> Option<Scalar> {
    match scalar {
        Scalar::Const(c) => c.is_multiple_of(by).then(|| Scalar::Const(c / by)),
        Scalar::Mul(a, b) => match (exact_quotient(a, by), exact_quotient(b, by)) {
            (Some(q), _) => Some(mul(q, (**b).clone())),
            (None, Some(q)) => Some(mul((**a).clone(), q)),
            (None, None) => None,
        },
        Scalar::Add(a, b) => Some(add(exact_quotient(a, by)?, exact_quotient(b, by)?)),
        Scalar::Dim(_)
        | Scalar::Sub(..)
        | Scalar::Div(..)
        | Scalar::DivCeil(..)
        | Scalar::Rem(..)
        | Scalar::Min(..) => None,
    }
}

/// Sum, folded; at most the largest number, as products are: a tensor of so many bytes is refused by calls.
pub fn add(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Const(a), Scalar::Const(b)) => Scalar::Const(a.saturating_add(b)),
        (Scalar::Const(0), s) | (s, Scalar::Const(0)) => s,
        (a, b) => Scalar::Add(Box::new(a), Box::new(b)),
    }
}

/// Difference, folded.
pub fn sub(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Const(a), Scalar::Const(b)) => Scalar::Const(a.saturating_sub(b)),
        (a, Scalar::Const(0)) => a,
        (a, b) => Scalar::Sub(Box::new(a), Box::new(b)),
    }
}

/// Product, folded.
pub fn mul(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Const(a), Scalar::Const(b)) => Scalar::Const(a.saturating_mul(b)),
        (Scalar::Const(0), _) | (_, Scalar::Const(0)) => Scalar::Const(0),
        (Scalar::Const(1), s) | (s, Scalar::Const(1)) => s,
        (a, b) => Scalar::Mul(Box::new(a), Box::new(b)),
    }
}

/// The smaller, folded.
pub fn min(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Const(a), Scalar::Const(b)) => Scalar::Const(a.min(b)),
        (a, b) => Scalar::Min(Box::new(a), Box::new(b)),
    }
}

/// Quotient rounded down, folded.
pub fn div(a: Scalar, by: u64) -> Scalar {
    match a {
        Scalar::Const(a) => Scalar::Const(a / by),
        a if by == 1 => a,
        a => Scalar::Div(Box::new(a), Box::new(Scalar::Const(by))),
    }
}

/// Quotient rounded up, folded.
pub fn div_ceil(a: Scalar, by: u64) -> Scalar {
    match a {
        Scalar::Const(a) => Scalar::Const(a.div_ceil(by)),
        a if by == 1 => a,
        a => Scalar::DivCeil(Box::new(a), Box::new(Scalar::Const(by))),
    }
}

/// Remainder, folded.
pub fn rem(a: Scalar, by: u64) -> Scalar {
    match a {
        Scalar::Const(a) => Scalar::Const(a % by),
        _ if by == 1 => Scalar::Const(0),
        a => Scalar::Rem(Box::new(a), Box::new(Scalar::Const(by))),
    }
}

impl Axis {
    /// The end, if it is a number.
    pub fn to_const(&self) -> Option<u64> {
        match self.to {
            Scalar::Const(c) => Some(c),
            _ => None,
        }
    }
}
