//! Side conditions: what must be proved of the terms that a rule matches.

use super::{element, get, lanes, table_of};
use crate::format::Element;
use crate::rewrite::analysis::{Graph, axis, data, real, reference};
use crate::rewrite::is_arithmetic;
use crate::rewrite::lang::{Node, Op, Ty};
use crate::rewrite::word::{self, Word};
use crate::schedule::index::{Affine, AxisId, AxisKind, AxisSet, TableAxis};
use crate::schedule::term::{BitField, LoadId};
use egg::{Id, Subst};

/// A side condition; variables are written as in the patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The axis is not free in the term.
    NotFree(&'static str, &'static str),
    /// The axis is a loop or copies.
    Loop(&'static str),
    /// A sum over the axis is more than a product: the axis is free in the term, or its extent is not known.
    Needed(&'static str, &'static str),
    /// The axis is copies.
    Copies(&'static str),
    /// The axis is of neighbours whose bits make up a byte.
    Octet(&'static str),
    /// The term is 0 or 1.
    Bit(&'static str),
    /// The field is one bit of a byte that is loaded, the one that the axis counts: field, axis, load.
    BitOfByte(&'static str, &'static str, &'static str),
    /// The axis is a lane.
    Lane(&'static str),
    /// The axis is a lane whose sums dot products may fold.
    Folds(&'static str),
    /// The axis comes after all of the lane list: it would be innermost.
    Innermost(&'static str, &'static str),
    /// The first axis number is below the second: the second is further in.
    Before(&'static str, &'static str),
    /// The term may be below 0.
    Signed(&'static str),
    /// There are at least two lanes.
    Several(&'static str),
    /// The lanes are exactly two.
    Two(&'static str),
    /// The term is an integer.
    Integer(&'static str),
    /// The term is an integer within the type.
    Fits(&'static str, Ty),
    /// The sum over the axis of the term stays within the type.
    SumFits(&'static str, &'static str, Ty),
    /// The load is stored in this type.
    StoredAs(&'static str, &'static str),
    /// The sum over the axis depends on data of the call, and on no lane and no axis over rows.
    StageableSum(&'static str, &'static str),
    /// The sum over the axis depends on data of the call, on no axis over rows, and on these lanes, which are none of results.
    StageableLanes(&'static str, &'static str, &'static str),
    /// The term is of weights, changes with a loop of a sum, and with no loop over the batch, of which there is one that runs
    /// more than once.
    Panelled(&'static str),
    /// The load is of signed bytes.
    SignedByteLoad(&'static str),
    /// The load depends on an axis over rows of weights.
    OverRows(&'static str),
    /// The first term changes with axes of sums at least as far in as the second does.
    AsDeep(&'static str, &'static str),
    /// The terms are not tables over the same code.
    ApartCodes(&'static str, &'static str),
    /// The bits, at their place in the code, do not fit a byte, or what they are taken from does not.
    WideField(&'static str, &'static str),
    /// The load is of unsigned 16-bit numbers.
    StoredAs16(&'static str),
    /// The unit is an integer of 32 bits in all copies.
    WholeUnit(&'static str),
    /// The term is a constant.
    Constant(&'static str),
    /// The term is not a constant.
    NotConstant(&'static str),
    /// The term is in memory, or the value of a code.
    Coded(&'static str),
    /// The first term is no signed integer with 128 added to it, or the second is a byte. Other products, and their sums, may be
    /// floats; the part that is taken away again would cost them the low bits of what is left.
    Unrounded(&'static str, &'static str),
    /// The (constant) term fits the type.
    FitsVar(&'static str, &'static str),
    /// The sum over the axis of the product stays within the type.
    ProductSumFits(&'static str, &'static str, &'static str, Ty),
    /// The first term is an integer from 0 on, below the second, which is a constant.
    Indexes(&'static str, &'static str),
    /// Every entry of the table is an integer within the type.
    TableFits(&'static str, Ty),
    /// The element is a float whose value is computed by bit arithmetic.
    Arithmetic(&'static str),
    /// The element is a signed integer.
    SignedInteger(&'static str),
    /// The element is an unsigned integer.
    UnsignedInteger(&'static str),
    /// Every value of the element is an integer within the type.
    ElementFits(&'static str, Ty),
    /// The element has at most 2^16 codes.
    Tabular(&'static str),
    /// The term does not read the load.
    NotReading(&'static str, &'static str),
    /// The place of the field does not change with the axis.
    FieldFree(&'static str, &'static str),
    /// The lanes are those of the axis.
    Lanes(&'static str, &'static str),
    /// The term is the same in all of the lanes.
    Apart(&'static str, &'static str),
    /// The term, rounded down, is within the type.
    FloorFits(&'static str, Ty),
    /// The lanes are the entries of a table, whose terms depend on data of the call, and on no other lane and no axis over rows.
    StageableTable(&'static str, &'static str),
    /// The condition with the range of its type this much wider at both ends, or narrower. It proves nothing: no rule of the
    /// compiler has it, but tests move the limits of rules by it, to show that these are tight.
    Widened(&'static When, i32),
}

/// What bytes hold, with or without a sign.
const BYTES: (f64, f64) = (-128.0, 255.0);

/// Whether a term is an integer of a range.
fn within(graph: &Graph, term: Id, (low, high): (f64, f64)) -> bool {
    real(graph, term).is_some_and(|r| r.integer && r.low >= low && r.high <= high)
}

/// The lanes that the sum of a term over an axis depends on, if that can be computed before the loop over rows of weights.
fn stageable(graph: &Graph, term: Id, axis: AxisId) -> Option<AxisSet> {
    let facts = &graph.analysis;
    let real = real(graph, term)?;
    let free = real.free.minus(AxisSet::one(axis));
    let over_rows = free.iter().any(|a| facts.axes[a].row);
    let rows = facts.axes.values().any(|a| a.row);
    if !real.call || !rows || over_rows {
        return None;
    }
    let lanes = free.iter().filter(|a| facts.is_lane(*a));
    Some(lanes.fold(AxisSet::default(), |set, a| set.union(AxisSet::one(a))))
}

impl When {
    /// Whether it asks that numbers are within the range of a type.
    pub fn has_limit(&self) -> bool {
        match self {
            When::Fits(..)
            | When::SumFits(..)
            | When::ProductSumFits(..)
            | When::FitsVar(..)
            | When::TableFits(..)
            | When::ElementFits(..)
            | When::FloorFits(..) => true,
            When::Widened(when, _) => when.has_limit(),
            _ => false,
        }
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        match *self {
            When::NotFree(a, b)
            | When::Needed(a, b)
            | When::Innermost(a, b)
            | When::Before(a, b)
            | When::StoredAs(a, b)
            | When::WideField(a, b)
            | When::StageableSum(a, b)
            | When::FitsVar(a, b)
            | When::AsDeep(a, b)
            | When::ApartCodes(a, b)
            | When::NotReading(a, b)
            | When::FieldFree(a, b)
            | When::Lanes(a, b)
            | When::Apart(a, b)
            | When::Unrounded(a, b)
            | When::StageableTable(a, b)
            | When::Indexes(a, b)
            | When::SumFits(a, b, _) => vec![a, b],
            When::ProductSumFits(a, b, c, _)
            | When::StageableLanes(a, b, c)
            | When::BitOfByte(a, b, c) => vec![a, b, c],
            When::Loop(a)
            | When::Copies(a)
            | When::Octet(a)
            | When::Bit(a)
            | When::Lane(a)
            | When::Panelled(a)
            | When::Folds(a)
            | When::Two(a)
            | When::Signed(a)
            | When::Several(a)
            | When::Integer(a)
            | When::Fits(a, _)
            | When::SignedByteLoad(a)
            | When::OverRows(a)
            | When::StoredAs16(a)
            | When::WholeUnit(a)
            | When::Constant(a)
            | When::NotConstant(a)
            | When::Coded(a)
            | When::TableFits(a, _)
            | When::Arithmetic(a)
            | When::SignedInteger(a)
            | When::UnsignedInteger(a)
            | When::ElementFits(a, _)
            | When::FloorFits(a, _)
            | When::Tabular(a) => vec![a],
            When::Widened(when, _) => when.names(),
        }
    }

    /// Whether the condition is proved here.
    pub(super) fn holds(&self, graph: &Graph, subst: &Subst) -> bool {
        self.holds_within(graph, subst, 0.0)
    }

    /// The same with the ranges of types wider at both ends.
    fn holds_within(&self, graph: &Graph, subst: &Subst, slack: f64) -> bool {
        let range = |ty: Ty| {
            let (low, high) = ty.range();
            (low - slack, high + slack)
        };
        let id = |name: &str| get(subst, name);
        let facts = &graph.analysis;
        let on_axis = |name: &str, f: &dyn Fn(AxisId) -> bool| axis(graph, id(name)).is_some_and(f);
        match *self {
            When::NotFree(a, e) => {
                on_axis(a, &|a| real(graph, id(e)).is_some_and(|r| !r.free.has(a)))
            }
            When::Needed(a, e) => on_axis(a, &|a| {
                let varies = real(graph, id(e)).is_none_or(|r| r.free.has(a));
                varies || facts.axes[a].to_const().is_none()
            }),
            When::Loop(a) => on_axis(a, &|a| !facts.is_lane(a)),
            When::Copies(a) => on_axis(a, &|a| facts.axes[a].kind == AxisKind::Unroll),
            When::Octet(a) => on_axis(a, &|a| facts.is_octet(a)),
            When::Bit(e) => within(graph, id(e), (0.0, 1.0)),
            When::BitOfByte(f, a, x) => on_axis(a, &|a| {
                let field = reference(graph, id(f)).map(|f| &facts.terms.fields[f as usize]);
                let byte = reference(graph, id(x)).is_some_and(|l| {
                    let load = LoadId::from_u32(l);
                    let moves = facts.terms.load_axes(load).has(a);
                    facts.load_ty(l) == Ty::U8 && !moves
                });
                let own = BitField::bit(Affine::axis(a, 1));
                byte && field == Some(&own)
            }),
            When::Lane(a) => on_axis(a, &|a| facts.is_lane(a)),
            When::Folds(a) => on_axis(a, &|a| facts.axes[a].folds),
            When::Signed(e) => real(graph, id(e)).is_some_and(|r| r.low < 0.0),
            When::Several(l) => lanes(graph, subst, l).is_some_and(|set| !set.is_empty()),
            When::Two(a) => on_axis(a, &|a| {
                facts.axes[a].kind != AxisKind::Loop && facts.extent(a) == Some(2)
            }),
            When::Innermost(a, l) => on_axis(a, &|a| {
                lanes(graph, subst, l).is_some_and(|set| set.iter().all(|x| x < a))
            }),
            When::Before(a, b) => on_axis(a, &|a| on_axis(b, &|b| a < b)),
            When::Integer(e) => real(graph, id(e)).is_some_and(|r| r.integer),
            When::Fits(e, ty) => within(graph, id(e), range(ty)),
            When::SumFits(a, e, ty) => on_axis(a, &|a| {
                let (low, high) = range(ty);
                let integer = real(graph, id(e)).filter(|r| r.integer);
                let most = integer.and_then(|r| Some((r, facts.most(a)? as f64)));
                most.is_some_and(|(r, n)| r.low * n >= low && r.high * n <= high)
            }),
            When::StoredAs(load, ty) => {
                let (Some(load), Some(Node::Ty(ty))) =
                    (reference(graph, id(load)), data(graph, id(ty)))
                else {
                    return false;
                };
                facts.load_ty(load) == *ty
            }
            When::SignedByteLoad(x) => {
                reference(graph, id(x)).is_some_and(|l| facts.load_ty(l) == Ty::I8)
            }
            When::OverRows(x) => reference(graph, id(x)).is_some_and(|load| {
                let free = facts.terms.load_axes(LoadId::from_u32(load));
                free.iter().any(|a| facts.axes[a].row)
            }),
            When::AsDeep(x, y) => {
                let depth = |name: &str| {
                    let free = real(graph, id(name)).map(|r| r.free).unwrap_or_default();
                    free.iter()
                        .filter(|a| !facts.axes[*a].output)
                        .map(|a| a.as_u32() + 1)
                        .max()
                        .unwrap_or(0)
                };
                depth(x) >= depth(y)
            }
            When::ApartCodes(x, y) => {
                let code = |name: &str| {
                    let (code, _) = real(graph, id(name))?.table.as_ref()?;
                    Some(graph.find(*code))
                };
                code(x).is_none_or(|c| code(y) != Some(c))
            }
            When::WideField(f, e) => {
                let wide = |f: u32| facts.terms.fields[f as usize].most(&facts.axes) > 255.0;
                reference(graph, id(f)).is_some_and(wide) || !within(graph, id(e), range(Ty::U8))
            }
            When::StoredAs16(x) => {
                reference(graph, id(x)).is_some_and(|l| facts.load_ty(l) == Ty::U16)
            }
            When::WholeUnit(u) => reference(graph, id(u)).is_some_and(|u| {
                let unit = &facts.terms.units[u as usize];
                let ((low, high), (least, most)) = (unit.range(&facts.axes), Ty::I32.range());
                unit.is_integer() && low >= least && high <= most
            }),
            When::Constant(e) => real(graph, id(e)).is_some_and(|r| r.constant.is_some()),
            When::NotConstant(e) => real(graph, id(e)).is_some_and(|r| r.constant.is_none()),
            When::Unrounded(a, b) => {
                let biased = |node: &Node| matches!(node, Node::Op(Op::Biased, _));
                !graph[id(a)].nodes.iter().any(biased) || within(graph, id(b), BYTES)
            }
            When::Coded(e) => graph[id(e)].nodes.iter().any(|node| match node {
                Node::Op(op, _) => {
                    matches!(op, Op::Ld | Op::Bits | Op::Elem | Op::Lookup | Op::Biased)
                }
                _ => false,
            }),
            When::FitsVar(e, ty) => {
                let Some(Node::Ty(ty)) = data(graph, id(ty)) else {
                    return false;
                };
                let (low, high) = range(*ty);
                real(graph, id(e)).is_some_and(|r| {
                    (*ty == Ty::F32 || r.integer) && r.low >= low && r.high <= high
                })
            }
            When::ProductSumFits(a, x, y, ty) => on_axis(a, &|a| {
                let (low, high) = range(ty);
                let integer = |e| real(graph, id(e)).filter(|r| r.integer);
                let (Some(x), Some(y)) = (integer(x), integer(y)) else {
                    return false;
                };
                let Some(n) = facts.extent(a) else {
                    return false;
                };
                let corners = [
                    x.low * y.low,
                    x.low * y.high,
                    x.high * y.low,
                    x.high * y.high,
                ]
                .map(|c| c * n as f64);
                corners.iter().all(|c| *c >= low && *c <= high)
            }),
            When::StageableSum(a, e) => on_axis(a, &|a| {
                stageable(graph, id(e), a) == Some(AxisSet::default())
            }),
            When::StageableLanes(l, a, e) => on_axis(a, &|a| {
                let of_sums = |lanes: &AxisSet| lanes.iter().all(|x| !facts.axes[x].output);
                let lanes = lanes(graph, subst, l).filter(of_sums);
                lanes.is_some() && stageable(graph, id(e), a) == lanes
            }),
            When::Panelled(e) => real(graph, id(e)).is_some_and(|r| {
                let batch = |a: AxisId| facts.axes[a].batch;
                let summed = |a: AxisId| {
                    let axis = &facts.axes[a];
                    axis.kind == AxisKind::Loop && !axis.output
                };
                let many = facts.axes.iter().any(|(_, a)| a.batch && a.nominal > 1);
                many && !r.call && r.free.iter().any(summed) && !r.free.iter().any(batch)
            }),
            When::Indexes(p, n) => {
                let most = real(graph, id(n)).and_then(|r| r.constant);
                let index = real(graph, id(p)).filter(|r| r.integer && r.low >= 0.0);
                index.zip(most).is_some_and(|(r, most)| r.high < most)
            }
            When::TableFits(t, ty) => table_of(graph, subst, t).is_some_and(|entries| {
                let (low, high) = range(ty);
                entries
                    .iter()
                    .all(|e| e.fract() == 0.0 && *e >= low && *e <= high)
            }),
            When::Arithmetic(e) => element(graph, subst, e).is_some_and(is_arithmetic),
            When::UnsignedInteger(e) => {
                element(graph, subst, e).is_some_and(|e| matches!(e, Element::UInt { .. }))
            }
            When::SignedInteger(e) => {
                element(graph, subst, e).is_some_and(|e| matches!(e, Element::Int { .. }))
            }
            When::ElementFits(e, ty) => element(graph, subst, e).is_some_and(|e| {
                let ((low, high), (least, most)) = (range(ty), e.range());
                e.is_integer() && least >= low && most <= high
            }),
            When::Tabular(e) => element(graph, subst, e).is_some_and(|e| e.bits() <= 16),
            When::NotReading(e, x) => {
                let load = reference(graph, id(x));
                let word = load.is_some_and(|l| word::is_word(facts, l));
                word && real(graph, id(e)).is_some_and(|r| match &r.word {
                    Word::None => true,
                    Word::Part(part) => Some(part.load) != load,
                    Word::Many => false,
                })
            }
            When::FieldFree(a, f) => on_axis(a, &|a| {
                let field = reference(graph, id(f)).map(|f| &facts.terms.fields[f as usize]);
                field.is_some_and(|f| !f.axes().has(a))
            }),
            When::Lanes(l, a) => on_axis(a, &|a| {
                lanes(graph, subst, l).is_some_and(|set| set == AxisSet::one(a))
            }),
            When::Apart(e, l) => lanes(graph, subst, l)
                .zip(real(graph, id(e)))
                .is_some_and(|(set, r)| set.intersect(r.free).is_empty()),
            When::FloorFits(e, ty) => {
                let (low, high) = range(ty);
                real(graph, id(e)).is_some_and(|r| r.low.floor() >= low && r.high.floor() <= high)
            }
            When::Widened(when, by) => when.holds_within(graph, subst, slack + f64::from(by)),
            When::StageableTable(l, e) => {
                let Some((set, r)) = lanes(graph, subst, l).zip(real(graph, id(e))) else {
                    return false;
                };
                let of_entries = |a: AxisId| facts.axes[a].tables == TableAxis::Entries;
                let entries = !set.is_empty() && set.iter().all(of_entries);
                let rows = facts.axes.iter().any(|(_, a)| a.row);
                let mut others = r.free.minus(set).iter();
                let apart = others.all(|a| !facts.axes[a].row && !facts.is_lane(a));
                entries && rows && r.call && apart
            }
        }
    }
}
