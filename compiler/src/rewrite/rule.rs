//! What a rule is: data with a name, two patterns, side conditions and computed variables. See `rules/README.md`.

use super::analysis::{Graph, TABLE, axis, data, real, reference};
use super::facts::Facts;
use super::lang::{Node, Ty};
use super::word::{self, Word};
use crate::format::{Codebook, Element};
use crate::schedule::index::{Affine, AxisId, AxisKind, AxisSet, TableAxis};
use crate::schedule::term::{BitField, LoadId};
use egg::{Applier, Id, Pattern, PatternAst, Rewrite, Subst, Symbol, Var};
use std::collections::BTreeSet;
use std::str::FromStr;
use thiserror::Error;

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
    /// The term is of weights, changes with a loop of a sum, and with no loop over the batch, of which there is one that runs
    /// more than once.
    Panelled(&'static str),
    /// The load is of signed bytes.
    SignedByteLoad(&'static str),
    /// The element has more codes than a look-up in registers.
    WideCode(&'static str),
    /// The load, or the term, depends on an axis over rows of weights.
    OverRows(&'static str),
    /// The first term changes with axes of sums at least as far in as the second does.
    AsDeep(&'static str, &'static str),
    /// The terms are not tables over the same code.
    ApartCodes(&'static str, &'static str),
    /// The bits, at their place in the code, do not fit a byte, or what they are taken from does not.
    WideField(&'static str, &'static str),
    /// The load is of unsigned 16-bit numbers.
    StoredAs16(&'static str),
    /// The term is a constant.
    Constant(&'static str),
    /// The term is not a constant.
    NotConstant(&'static str),
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

/// A computed variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The lanes and one axis more.
    Push(&'static str, &'static str, &'static str),
    /// Those lanes that are free in the term, if that is not all of them.
    Restrict(&'static str, &'static str, &'static str),
    /// The extent of an axis as a number, if it is known.
    Extent(&'static str, &'static str),
    /// A table of integers within -128..=255, and the power of two (at most one) that the result is to be multiplied by.
    ScaleTable(&'static str, &'static str, &'static str),
    /// A table of unsigned bytes, and what is to be added to the result.
    OffsetTable(&'static str, &'static str, &'static str),
    /// A table of the products of the entries of two, the first of which has the low bits of its codes. Together they have at
    /// most as many as a register holds.
    ProductTable(&'static str, &'static str, &'static str),
    /// The field's bits, above those of a code of a table.
    Above(&'static str, &'static str, &'static str),
    /// The first field's bits, counted from the lowest of the second.
    Below(&'static str, &'static str, &'static str),
    /// The lanes of one axis.
    Only(&'static str, &'static str),
    /// The constant times 2^15, if that is an integer above 0 that 16 bits hold.
    Fraction(&'static str, &'static str),
    /// How the entries of an element follow from products, at `code * width + place`: its multipliers, half, first and second
    /// factor and middle ([`super::digits::Digits`]); then the element, and the width.
    Digits([&'static str; 5], &'static str, &'static str),
}

/// A rewrite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Kebab-case, unique.
    pub name: &'static str,
    /// What it matches.
    pub left: &'static str,
    /// What it adds.
    pub right: &'static str,
    /// Conditions, all of which must be proved.
    pub when: &'static [When],
    /// Computed variables, in order.
    pub bind: &'static [Bind],
    /// Why it holds and what it is for.
    pub why: &'static str,
}

/// A rule that is not well formed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// A side is no pattern.
    #[error("rule `{0}`: {1}")]
    Pattern(String, String),
    /// A variable of the right side or of a condition is bound nowhere.
    #[error("rule `{0}`: `{1}` is not bound")]
    Unbound(String, String),
}

impl Rule {
    /// The rule for egg.
    pub fn compile(&self) -> Result<Rewrite<Node, Facts>, RuleError> {
        let pattern = |text: &str| {
            Pattern::<Node>::from_str(text)
                .map_err(|e| RuleError::Pattern(self.name.to_owned(), e.to_string()))
        };
        let (left, right) = (pattern(self.left)?, pattern(self.right)?);
        let mut bound: BTreeSet<String> = left.vars().iter().map(|v| v.to_string()).collect();
        for bind in self.bind {
            let (new, used) = bind.names();
            self.check(&bound, used)?;
            bound.extend(new.iter().map(|s| s.to_string()));
        }
        self.check(&bound, right.vars().iter().map(|v| v.to_string()))?;
        for when in self.when {
            self.check(&bound, when.names())?;
        }
        let applier = Guarded { rule: *self, right };
        Rewrite::new(self.name, left, applier)
            .map_err(|e| RuleError::Pattern(self.name.to_owned(), e))
    }

    fn check<S: ToString>(
        &self,
        bound: &BTreeSet<String>,
        used: impl IntoIterator<Item = S>,
    ) -> Result<(), RuleError> {
        match used
            .into_iter()
            .map(|s| s.to_string())
            .find(|u| !bound.contains(u))
        {
            Some(name) => Err(RuleError::Unbound(self.name.to_owned(), name)),
            None => Ok(()),
        }
    }
}

impl Bind {
    fn names(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        match *self {
            Bind::Push(new, lanes, axis) => (vec![new], vec![lanes, axis]),
            Bind::Restrict(new, lanes, e) => (vec![new], vec![lanes, e]),
            Bind::Below(new, a, b) | Bind::Above(new, a, b) | Bind::ProductTable(new, a, b) => {
                (vec![new], vec![a, b])
            }
            Bind::Extent(new, of) | Bind::Only(new, of) | Bind::Fraction(new, of) => {
                (vec![new], vec![of])
            }
            Bind::ScaleTable(new, factor, t) | Bind::OffsetTable(new, factor, t) => {
                (vec![new, factor], vec![t])
            }
            Bind::Digits(new, of, width) => (new.to_vec(), vec![of, width]),
        }
    }

    /// Adds the variables to a substitution; `false` if they do not exist here.
    fn apply(&self, graph: &mut Graph, subst: &mut Subst) -> bool {
        let node = match *self {
            Bind::Push(new, l, a) => lanes(graph, subst, l)
                .zip(axis(graph, get(subst, a)))
                .map(|(set, a)| (new, Node::Lanes(set.union(AxisSet::one(a))))),
            Bind::Restrict(new, l, e) => lanes(graph, subst, l).and_then(|set| {
                let kept = set.intersect(real(graph, get(subst, e))?.free);
                (kept != set).then_some((new, Node::Lanes(kept)))
            }),
            Bind::Extent(new, a) => axis(graph, get(subst, a))
                .and_then(|a| {
                    graph.analysis.axes[a]
                        .to_const()
                        .and_then(|_| graph.analysis.extent(a))
                })
                .map(|n| (new, Node::num(n as f64))),
            Bind::Below(new, field, from) => {
                let field_of = |name: &str| {
                    let number = reference(graph, get(subst, name))?;
                    graph.analysis.terms.fields.get(number as usize)
                };
                let below = field_of(field).zip(field_of(from));
                below
                    .and_then(|(field, from)| word::below(field, from))
                    .map(|field| (new, Node::Ref(graph.analysis.field(field))))
            }
            Bind::Above(new, field, table) => above(graph, subst, field, table)
                .map(|field| (new, Node::Ref(graph.analysis.field(field)))),
            Bind::Only(new, a) => {
                axis(graph, get(subst, a)).map(|a| (new, Node::Lanes(AxisSet::one(a))))
            }
            Bind::Fraction(new, c) => real(graph, get(subst, c))
                .and_then(|r| r.constant)
                .map(|c| c * f64::from(1u32 << 15))
                .filter(|k| k.fract() == 0.0 && (1.0..=32767.0).contains(k))
                .map(|k| (new, Node::num(k))),
            Bind::ScaleTable(new, factor, t) => {
                return scale_table(graph, subst, new, factor, t).is_some();
            }
            Bind::ProductTable(new, low, high) => {
                return product_table(graph, subst, new, low, high).is_some();
            }
            Bind::OffsetTable(new, offset, t) => {
                return offset_table(graph, subst, new, offset, t).is_some();
            }
            Bind::Digits(new, of, width) => {
                let Some(parts) = digits(graph, subst, of, width) else {
                    return false;
                };
                for (name, leaf) in new.into_iter().zip(parts) {
                    let id = graph.add(leaf);
                    subst.insert(var(name), id);
                }
                return true;
            }
        };
        let Some((name, node)) = node else {
            return false;
        };
        let id = graph.add(node);
        subst.insert(var(name), id);
        true
    }
}

fn table_of(graph: &Graph, subst: &Subst, name: &str) -> Option<Vec<f64>> {
    let number = reference(graph, get(subst, name))?;
    graph.analysis.tables.get(number as usize).cloned()
}

fn set_table(graph: &mut Graph, subst: &mut Subst, name: &str, entries: Vec<f64>) {
    let number = graph.analysis.table(entries);
    let id = graph.add(Node::Ref(number));
    subst.insert(var(name), id);
}

/// Halves of a table are integers after doubling; at most seven doublings are worth trying.
fn scale_table(
    graph: &mut Graph,
    subst: &mut Subst,
    new: &str,
    factor: &str,
    t: &str,
) -> Option<()> {
    let entries = table_of(graph, subst, t)?;
    if entries.iter().all(|e| e.fract() == 0.0) {
        return None;
    }
    let (scaled, shift) = (1..8).find_map(|shift| {
        let scaled: Vec<f64> = entries
            .iter()
            .map(|e| e * f64::from(1u32 << shift))
            .collect();
        scaled
            .iter()
            .all(|e| e.fract() == 0.0 && (-128.0..=127.0).contains(e))
            .then_some((scaled, shift))
    })?;
    set_table(graph, subst, new, scaled);
    let number = graph.add(Node::num(1.0 / f64::from(1u32 << shift)));
    subst.insert(var(factor), number);
    Some(())
}

fn offset_table(
    graph: &mut Graph,
    subst: &mut Subst,
    new: &str,
    offset: &str,
    t: &str,
) -> Option<()> {
    let entries = table_of(graph, subst, t)?;
    let low = entries.iter().copied().fold(f64::INFINITY, f64::min);
    let high = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let integers = entries.iter().all(|e| e.fract() == 0.0);
    if !integers || low >= 0.0 || high - low > 255.0 {
        return None;
    }
    set_table(graph, subst, new, entries.iter().map(|e| e - low).collect());
    let number = graph.add(Node::num(low));
    subst.insert(var(offset), number);
    Some(())
}

/// The products of all pairs of entries.
fn product_table(
    graph: &mut Graph,
    subst: &mut Subst,
    new: &str,
    low: &str,
    high: &str,
) -> Option<()> {
    let (low, high) = (table_of(graph, subst, low)?, table_of(graph, subst, high)?);
    if low.len() * high.len() > TABLE {
        return None;
    }
    let row = |h: f64| low.iter().map(move |l| l * h);
    let entries = high.iter().copied().flat_map(row).collect();
    set_table(graph, subst, new, entries);
    Some(())
}

/// A field moved up past the codes of a table.
fn above(graph: &Graph, subst: &Subst, field: &str, table: &str) -> Option<BitField> {
    let number = reference(graph, get(subst, field))?;
    let field = graph.analysis.terms.fields.get(number as usize)?;
    let bits = table_of(graph, subst, table)?.len().ilog2() as u8;
    Some(BitField {
        up: field.up + bits,
        ..field.clone()
    })
}

/// The parts of the digits that the entries of an element are.
fn digits(graph: &mut Graph, subst: &Subst, of: &str, width: &str) -> Option<[Node; 5]> {
    let number = reference(graph, get(subst, of))?;
    let width = real(graph, get(subst, width))?.constant?;
    let several = width.fract() == 0.0 && (2.0..=16.0).contains(&width);
    let digits = graph
        .analysis
        .digits(number, several.then_some(width as usize)?)?;
    let multipliers = digits.multipliers.iter().map(|m| f32::from(*m)).collect();
    let multipliers = Element::Codebook(Codebook::scalar(multipliers).into());
    let multipliers = Node::Ref(graph.analysis.element(multipliers));
    let [half, first, second, middle] =
        [digits.half, digits.first, digits.second, digits.middle].map(Node::num);
    Some([multipliers, half, first, second, middle])
}

/// Whether a term is an integer of a range.
fn within(graph: &Graph, term: Id, (low, high): (f64, f64)) -> bool {
    real(graph, term).is_some_and(|r| r.integer && r.low >= low && r.high <= high)
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

    fn names(&self) -> Vec<&'static str> {
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
            | When::StageableTable(a, b)
            | When::Indexes(a, b)
            | When::SumFits(a, b, _) => vec![a, b],
            When::ProductSumFits(a, b, c, _) | When::BitOfByte(a, b, c) => vec![a, b, c],
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
            | When::WideCode(a)
            | When::StoredAs16(a)
            | When::Constant(a)
            | When::NotConstant(a)
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
    fn holds(&self, graph: &Graph, subst: &Subst) -> bool {
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
            When::Two(a) => on_axis(a, &|a| facts.extent(a) == Some(2)),
            When::Innermost(a, l) => on_axis(a, &|a| {
                lanes(graph, subst, l).is_some_and(|set| set.iter().all(|x| x < a))
            }),
            When::Before(a, b) => on_axis(a, &|a| on_axis(b, &|b| a < b)),
            When::Integer(e) => real(graph, id(e)).is_some_and(|r| r.integer),
            When::Fits(e, ty) => within(graph, id(e), range(ty)),
            When::SumFits(a, e, ty) => on_axis(a, &|a| {
                let (low, high) = range(ty);
                let n = facts.most(a).map(|n| n as f64);
                real(graph, id(e))
                    .zip(n)
                    .is_some_and(|(r, n)| r.integer && r.low * n >= low && r.high * n <= high)
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
            When::WideCode(e) => {
                element(graph, subst, e).is_some_and(|e| 1u64 << e.bits() > TABLE as u64)
            }
            When::OverRows(x) => {
                let load = reference(graph, id(x)).map(LoadId::from_u32);
                let free = match load {
                    Some(load) => facts.terms.load_axes(load),
                    None => real(graph, id(x)).map(|r| r.free).unwrap_or_default(),
                };
                free.iter().any(|a| facts.axes[a].row)
            }
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
                let wide = |f: u32| facts.terms.fields[f as usize].most() > 255.0;
                reference(graph, id(f)).is_some_and(wide) || !within(graph, id(e), range(Ty::U8))
            }
            When::StoredAs16(x) => {
                reference(graph, id(x)).is_some_and(|l| facts.load_ty(l) == Ty::U16)
            }
            When::Constant(e) => real(graph, id(e)).is_some_and(|r| r.constant.is_some()),
            When::NotConstant(e) => real(graph, id(e)).is_some_and(|r| r.constant.is_none()),
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
                let (Some(x), Some(y), Some(n)) =
                    (real(graph, id(x)), real(graph, id(y)), facts.extent(a))
                else {
                    return false;
                };
                let corners = [
                    x.low * y.low,
                    x.low * y.high,
                    x.high * y.low,
                    x.high * y.high,
                ]
                .map(|c| c * n as f64);
                x.integer && y.integer && corners.iter().all(|c| *c >= low && *c <= high)
            }),
            When::StageableSum(a, e) => on_axis(a, &|a| {
                let picked = |f: &dyn Fn(AxisId) -> bool| {
                    facts
                        .axes
                        .keys()
                        .filter(|x| f(*x))
                        .fold(AxisSet::default(), |s, x| s.union(AxisSet::one(x)))
                };
                let rows = picked(&|x| facts.axes[x].row);
                let lanes = picked(&|x| facts.is_lane(x));
                real(graph, id(e)).is_some_and(|r| {
                    let free = r.free.minus(AxisSet::one(a));
                    r.call && !rows.is_empty() && free.intersect(rows.union(lanes)).is_empty()
                })
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
            When::Arithmetic(e) => element(graph, subst, e).is_some_and(super::is_arithmetic),
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
                field.is_some_and(|f| !f.shift.axes().has(a))
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

fn element<'g>(graph: &'g Graph, subst: &Subst, name: &str) -> Option<&'g Element> {
    graph
        .analysis
        .terms
        .elements
        .get(reference(graph, get(subst, name))? as usize)
}

fn var(name: &str) -> Var {
    Var::from(Symbol::from(name))
}

/// The class of a variable; conditions and computed variables are checked to be bound when a rule is built.
fn get(subst: &Subst, name: &str) -> Id {
    subst[var(name)]
}

fn lanes(graph: &Graph, subst: &Subst, name: &str) -> Option<AxisSet> {
    match data(graph, get(subst, name)) {
        Some(Node::Lanes(set)) => Some(*set),
        _ => None,
    }
}

/// A right side behind its conditions.
struct Guarded {
    rule: Rule,
    right: Pattern<Node>,
}

impl Applier<Node, Facts> for Guarded {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        subst: &Subst,
        ast: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        let mut subst = subst.clone();
        for bind in self.rule.bind {
            if !bind.apply(graph, &mut subst) {
                return Vec::new();
            }
        }
        if !self.rule.when.iter().all(|w| w.holds(graph, &subst)) {
            return Vec::new();
        }
        self.right.apply_one(graph, class, &subst, ast, name)
    }
}
