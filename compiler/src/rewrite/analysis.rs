//! What every class knows: for reals the free axes, an interval, whether they are integers, whether they are a table over
//! one small code; for vectors the lanes and the type. A rule fires only where these facts prove that it may.

use super::facts::Facts;
use super::lang::{Node, Op, Ty};
use super::word::{self, Word};
use crate::schedule::index::{AxisId, AxisKind, AxisSet};
use crate::schedule::term::Storage;
use egg::{Analysis, DidMerge, EGraph, Id};

/// Facts of a real term.
#[derive(Clone, Debug, PartialEq)]
pub struct Real {
    /// Axes it depends on.
    pub free: AxisSet,
    /// Smallest value it can have.
    pub low: f64,
    /// Largest value it can have.
    pub high: f64,
    /// Whether it is an integer.
    pub integer: bool,
    /// Whether it depends on data of the call.
    pub call: bool,
    /// Its value if it is a constant.
    pub constant: Option<f64>,
    /// If it depends on one small code only: the code and the value for each.
    pub table: Option<(Id, Vec<f64>)>,
    /// The load it is, if it is one.
    pub load: Option<u32>,
    /// A constant and a class that it is the product of.
    pub scale: Option<(f64, Id)>,
    /// What it depends on of what is known before the call.
    pub word: Word,
}

/// Facts of a class.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A real term.
    Real(Real),
    /// A vector.
    Vector {
        /// Lanes, highest axis innermost.
        lanes: AxisSet,
        /// Number type.
        ty: Ty,
    },
    /// A leaf that is data of an operation.
    Data(Node),
}

/// Largest number of entries of a table that a look-up instruction takes.
pub const TABLE: usize = 16;

/// The e-graph of a statement.
pub type Graph = EGraph<Node, Facts>;

/// Real facts of a class.
pub fn real(graph: &Graph, id: Id) -> Option<&Real> {
    match &graph[id].data {
        Fact::Real(real) => Some(real),
        Fact::Vector { .. } | Fact::Data(_) => None,
    }
}

/// The leaf of a class of data.
pub fn data(graph: &Graph, id: Id) -> Option<&Node> {
    match &graph[id].data {
        Fact::Data(node) => Some(node),
        Fact::Real(_) | Fact::Vector { .. } => None,
    }
}

/// The axis of a class of data.
pub fn axis(graph: &Graph, id: Id) -> Option<AxisId> {
    match data(graph, id) {
        Some(Node::Axis(a)) => Some(*a),
        _ => None,
    }
}

/// The number of a class of data.
pub fn reference(graph: &Graph, id: Id) -> Option<u32> {
    match data(graph, id) {
        Some(Node::Ref(r)) => Some(*r),
        _ => None,
    }
}

/// The interval of what nothing is known of.
const UNKNOWN: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

fn unknown(free: AxisSet, call: bool) -> Real {
    Real {
        free,
        low: UNKNOWN.0,
        high: UNKNOWN.1,
        integer: false,
        call,
        constant: None,
        table: None,
        load: None,
        scale: None,
        word: Word::None,
    }
}

fn constant(value: f64) -> Real {
    Real {
        free: AxisSet::default(),
        low: value,
        high: value,
        integer: value.fract() == 0.0,
        call: false,
        constant: Some(value),
        table: None,
        load: None,
        scale: None,
        word: Word::None,
    }
}

impl Analysis<Node> for Facts {
    type Data = Fact;

    fn make(graph: &mut Graph, node: &Node, id: Id) -> Fact {
        match node {
            Node::Num(bits) => Fact::Real(constant(f64::from_bits(*bits))),
            Node::Ty(_) | Node::Lanes(_) | Node::Axis(_) | Node::Ref(_) => Fact::Data(node.clone()),
            Node::Op(op, children) => match vector_fact(graph, *op, children) {
                Some((lanes, ty)) => Fact::Vector { lanes, ty },
                None => {
                    let operands: Vec<&Real> =
                        children.iter().filter_map(|c| real(graph, *c)).collect();
                    Fact::Real(Real {
                        word: word::of(graph, *op, children, &operands),
                        ..real_fact(graph, *op, children, &operands, id)
                    })
                }
            },
        }
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        match (a, b) {
            (Fact::Real(a), Fact::Real(b)) => {
                let before = a.clone();
                a.free = a.free.intersect(b.free);
                a.low = a.low.max(b.low);
                a.high = a.high.min(b.high);
                a.integer |= b.integer;
                a.call &= b.call;
                a.constant = a.constant.or(b.constant);
                a.load = a.load.or(b.load);
                a.scale = a.scale.or(b.scale);
                a.word = std::mem::take(&mut a.word).meet(b.word.clone());
                if a.table.is_none() {
                    a.table = b.table.clone();
                }
                DidMerge(*a != before, *a != b)
            }
            (a, b) => DidMerge(false, *a != b),
        }
    }

    fn modify(graph: &mut Graph, id: Id) {
        graph.analysis.changed.push(id);
        let Some(real) = real(graph, id) else {
            return;
        };
        if let Some((code, entries)) = &real.table
            && graph.find(*code) != graph.find(id)
            && entries.iter().enumerate().all(|(at, e)| *e == at as f64)
        {
            // The table of a code's own values is the code.
            let code = *code;
            graph.union_trusted(id, code, "identity-table");
            return;
        }
        if let Some(value) = real.constant {
            let number = graph.add(Node::num(value));
            graph.union_trusted(id, number, "constant");
            // Its other forms are products of other constants, which would multiply for ever.
            graph[id].nodes.retain(|n| matches!(n, Node::Num(_)));
            return;
        }
        super::scale::normalise(graph, id);
    }
}

/// Lanes and type of a vector operation; `None` for real ones.
fn vector_fact(graph: &Graph, op: Op, children: &[Id]) -> Option<(AxisSet, Ty)> {
    let of = |i: usize| match &graph[children[i]].data {
        Fact::Vector { lanes, ty } => Some((*lanes, *ty)),
        Fact::Real(_) | Fact::Data(_) => None,
    };
    let lanes = |i: usize| match data(graph, children[i]) {
        Some(Node::Lanes(l)) => *l,
        _ => AxisSet::default(),
    };
    let ty = |i: usize| match data(graph, children[i]) {
        Some(Node::Ty(t)) => *t,
        _ => Ty::F32,
    };
    let drop_last = |set: AxisSet, n: usize| {
        let axes: Vec<AxisId> = set.iter().collect();
        axes[..axes.len().saturating_sub(n)]
            .iter()
            .fold(AxisSet::default(), |s, a| s.union(AxisSet::one(*a)))
    };
    match op {
        Op::Vec | Op::VLoad | Op::VNum | Op::VUnit => Some((lanes(0), ty(1))),
        Op::VExtent => Some((lanes(0), Ty::F32)),
        Op::VSpread => Some((lanes(0), of(1)?.1)),
        Op::VBits => of(1),
        Op::VLookup8 => Some((of(2)?.0, ty(0))),
        Op::VFetch | Op::VTable | Op::VSigned => Some((of(2)?.0, ty(0))),
        Op::VLookup32 | Op::VDecode => Some((of(1)?.0, Ty::F32)),
        Op::VBias | Op::VLow => Some((of(0)?.0, Ty::U8)),
        Op::VPlain => Some((of(0)?.0, Ty::I8)),
        Op::VPlace => Some((AxisSet::one(axis(graph, children[0])?), Ty::U8)),
        Op::VPick => Some((of(2)?.0, ty(0))),
        Op::VJoin => Some((of(0)?.0, Ty::I16)),
        Op::VNarrow | Op::VHigh => Some((of(1)?.0, ty(0))),
        Op::VMulHigh => of(1),
        Op::VMulLow | Op::VMulBytes | Op::VOver256 | Op::VAnd | Op::VCountOnes => of(0),
        Op::VWiden => Some((of(1)?.0, ty(0))),
        Op::VFloat | Op::VMagic => Some((of(0)?.0, Ty::F32)),
        Op::VFAdd
        | Op::VFSub
        | Op::VFMul
        | Op::VFDiv
        | Op::VFMin
        | Op::VFMax
        | Op::VAbs
        | Op::VExp
        | Op::VSqrt
        | Op::VTanh
        | Op::VSilu
        | Op::VGelu
        | Op::VRound
        | Op::VRoundAway
        | Op::VTrunc
        | Op::VFloor
        | Op::VFloorPow2
        | Op::VSelectLt
        | Op::VSelectLe
        | Op::VSelectEq
        | Op::VStage
        | Op::VPanel => of(0),
        Op::VIAdd | Op::VIMul => of(1),
        Op::VSum | Op::VMaxOver | Op::VPackBits => of(1),
        Op::VSumBytes => Some((of(1)?.0, Ty::I16)),
        Op::VFold | Op::VFoldMax => {
            let (set, ty) = of(1)?;
            Some((set.minus(AxisSet::one(axis(graph, children[0])?)), ty))
        }
        Op::VDot4 | Op::VDot4S => Some((drop_last(of(0)?.0, 2), Ty::I32)),
        Op::VMulPairs8 => Some((drop_last(of(0)?.0, 1), Ty::I16)),
        Op::VMulPairs16 | Op::VAddPairs16 => Some((drop_last(of(0)?.0, 1), Ty::I32)),
        Op::Add
        | Op::Mul
        | Op::Div
        | Op::Min
        | Op::Max
        | Op::Abs
        | Op::Exp
        | Op::Sqrt
        | Op::Tanh
        | Op::Silu
        | Op::Gelu
        | Op::Round
        | Op::RoundAway
        | Op::Trunc
        | Op::Floor
        | Op::FloorPow2
        | Op::SelectLt
        | Op::SelectLe
        | Op::SelectEq
        | Op::StrictAdd
        | Op::StrictSub
        | Op::StrictMul
        | Op::StrictDiv
        | Op::StrictMin
        | Op::StrictMax
        | Op::Ld
        | Op::Extent
        | Op::Unit
        | Op::Bits
        | Op::Elem
        | Op::Lookup
        | Op::Biased
        | Op::Place
        | Op::Pick
        | Op::At
        | Op::LowByte
        | Op::HighByte
        | Op::Over256
        | Op::Wrap
        | Op::And
        | Op::CountOnes
        | Op::PackBits
        | Op::Sum
        | Op::MaxOver => None,
    }
}

fn real_fact(graph: &Graph, op: Op, children: &[Id], operands: &[&Real], own: Id) -> Real {
    let facts = &graph.analysis;
    let free = operands
        .iter()
        .fold(AxisSet::default(), |s, r| s.union(r.free));
    let call = operands.iter().any(|r| r.call);
    let number = reference(graph, children[0]);
    match op {
        Op::Ld => {
            let Some(load) = number else {
                return unknown(free, true);
            };
            let id = crate::schedule::term::LoadId::from_u32(load);
            let (low, high) = match facts.terms.loads[id].storage {
                Storage::Code { bits } => (0.0, 2f64.powi(i32::from(bits)) - 1.0),
                Storage::Place { below } => (0.0, f64::from(below) - 1.0),
                _ => facts.load_ty(load).range(),
            };
            let integer = facts.load_ty(load) != Ty::F32;
            let call = facts.call_loads[load as usize];
            let table = match facts.terms.loads[id].storage {
                Storage::Code { bits } => identity(own, bits),
                _ => None,
            };
            let free = facts.terms.load_axes(id);
            Real {
                free,
                low,
                high,
                integer,
                call,
                constant: None,
                table,
                load: Some(load),
                scale: None,
                word: Word::None,
            }
        }
        Op::Extent => Real {
            low: 0.0,
            integer: true,
            ..unknown(free, false)
        },
        Op::Unit => {
            let Some(unit) = number.map(|u| &facts.terms.units[u as usize]) else {
                return unknown(free, call);
            };
            let (low, high) = unit.range(&facts.axes);
            Real {
                low,
                high,
                integer: unit.is_integer(),
                ..unknown(unit.bits.axes(), false)
            }
        }
        Op::Bits => {
            let Some(field) = number.map(|f| &facts.terms.fields[f as usize]) else {
                return unknown(free, call);
            };
            let free = free.union(field.axes());
            let table = match field.fixed_up() {
                Some(0) => identity(own, field.width),
                _ => None,
            };
            Real {
                free,
                low: 0.0,
                high: field.most(&facts.axes),
                integer: true,
                table,
                ..unknown(free, call)
            }
        }
        Op::Elem => element_fact(graph, number, children, free, call),
        Op::Lookup => {
            let Some(entries) = number.and_then(|t| facts.tables.get(t as usize)) else {
                return unknown(free, call);
            };
            let table = Some((graph.find(children[1]), entries.clone()));
            of_table(entries, free, call, table)
        }
        Op::Biased => {
            let Some(e) = operands.first() else {
                return unknown(free, call);
            };
            Real {
                low: e.low + 128.0,
                high: e.high + 128.0,
                integer: e.integer,
                ..unknown(free, call)
            }
        }
        Op::Add | Op::Mul => Real {
            scale: super::scale::of(graph, op, children),
            ..arithmetic(op, operands, free, call)
        },
        Op::Sum => {
            let Some(axis) = axis(graph, children[0]) else {
                return unknown(free, call);
            };
            let Some(e) = operands.first() else {
                return unknown(free, call);
            };
            let free = free.minus(AxisSet::one(axis));
            // Nothing asks how large sums of loops are that are no integers.
            let counts = e.integer || facts.axes[axis].kind != AxisKind::Loop;
            let most = counts.then(|| facts.most(axis)).flatten();
            let most = most.unwrap_or(u64::MAX);
            Real {
                low: scale(e.low.min(0.0), most),
                high: scale(e.high.max(0.0), most),
                integer: e.integer,
                ..unknown(free, call)
            }
        }
        Op::MaxOver => {
            let bound = axis(graph, children[0]).map_or(AxisSet::default(), AxisSet::one);
            unknown(free.minus(bound), call)
        }
        Op::Floor => {
            let (low, high) = operands.first().map_or(UNKNOWN, |e| (e.low, e.high));
            Real {
                low: low.floor(),
                high: high.floor(),
                integer: true,
                ..unknown(free, call)
            }
        }
        Op::Round | Op::RoundAway | Op::Trunc => Real {
            integer: true,
            ..unknown(free, call)
        },
        Op::Place => {
            let own = axis(graph, children[0]);
            let most = own.and_then(|a| facts.extent(a)).unwrap_or(u64::MAX);
            Real {
                free: own.map_or(free, AxisSet::one),
                low: 0.0,
                high: most as f64 - 1.0,
                integer: true,
                ..unknown(free, call)
            }
        }
        Op::Pick | Op::At => {
            let Some(e) = operands.first() else {
                return unknown(free, call);
            };
            let own = axis(graph, children[0]).map_or(AxisSet::default(), AxisSet::one);
            let free = match op {
                Op::Pick => {
                    let code = operands.get(1).map_or(AxisSet::default(), |c| c.free);
                    e.free.minus(own).union(code)
                }
                _ => free.union(own),
            };
            Real {
                low: e.low,
                high: e.high,
                integer: e.integer,
                ..unknown(free, call)
            }
        }
        Op::LowByte => Real {
            low: 0.0,
            high: 255.0,
            integer: true,
            ..unknown(free, call)
        },
        Op::HighByte | Op::Over256 => {
            let (low, high) = operands.first().map_or(UNKNOWN, |e| (e.low, e.high));
            Real {
                low: (low / 256.0).floor(),
                high: (high / 256.0).floor(),
                integer: true,
                ..unknown(free, call)
            }
        }
        Op::And => {
            let (a, b) = match operands {
                [a, b] => (a.high, b.high),
                _ => (f64::INFINITY, f64::INFINITY),
            };
            Real {
                low: 0.0,
                high: a.min(b),
                integer: true,
                ..unknown(free, call)
            }
        }
        Op::CountOnes => {
            let high = operands.first().map_or(f64::INFINITY, |e| e.high);
            Real {
                low: 0.0,
                high: (high + 1.0).log2().floor().max(0.0),
                integer: true,
                ..unknown(free, call)
            }
        }
        Op::PackBits => {
            let own = axis(graph, children[0]);
            let (low, high) = operands.first().map_or(UNKNOWN, |e| (e.low, e.high));
            // Each digit is at most so far from 0, and together they are worth less than the next.
            let digits = own.and_then(|a| facts.extent(a)).unwrap_or(u64::MAX);
            let all = 2f64.powi(digits.min(1 << 10) as i32) - 1.0;
            let whole = |end: f64| if end == 0.0 { 0.0 } else { end * all };
            Real {
                free: own.map_or(free, |a| free.minus(AxisSet::one(a))),
                low: whole(low.min(0.0)),
                high: whole(high.max(0.0)),
                integer: operands.iter().all(|e| e.integer),
                ..unknown(free, call)
            }
        }
        Op::Wrap => {
            let (low, high) = Ty::I16.range();
            Real {
                low,
                high,
                integer: true,
                ..unknown(free, call)
            }
        }
        Op::Min | Op::Max => {
            let [a, b] = operands[..] else {
                return unknown(free, call);
            };
            let pick = |x: f64, y: f64| if op == Op::Min { x.min(y) } else { x.max(y) };
            let integer = a.integer && b.integer;
            Real {
                low: pick(a.low, b.low),
                high: pick(a.high, b.high),
                integer,
                ..unknown(free, call)
            }
        }
        _ => unknown(free, call),
    }
}

/// A small code is the identity over itself.
fn identity(own: Id, width: u8) -> Option<(Id, Vec<f64>)> {
    (width <= 4).then(|| (own, (0..1u32 << width).map(f64::from).collect()))
}

fn scale(value: f64, n: u64) -> f64 {
    if value == 0.0 { 0.0 } else { value * n as f64 }
}

fn of_table(entries: &[f64], free: AxisSet, call: bool, table: Option<(Id, Vec<f64>)>) -> Real {
    let low = entries.iter().copied().fold(f64::INFINITY, f64::min);
    let high = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let integer = entries.iter().all(|e| e.fract() == 0.0);
    Real {
        low,
        high,
        integer,
        table,
        ..unknown(free, call)
    }
}

fn element_fact(
    graph: &Graph,
    number: Option<u32>,
    children: &[Id],
    free: AxisSet,
    call: bool,
) -> Real {
    let Some(element) = number.and_then(|e| graph.analysis.terms.elements.get(e as usize)) else {
        return unknown(free, call);
    };
    let finite = !element.has_nan_or_inf();
    if finite && 1usize << element.bits().min(16) <= TABLE {
        let entries: Vec<f64> = (0..1u32 << element.bits())
            .map(|c| element.decode(c))
            .collect();
        return of_table(
            &entries,
            free,
            call,
            Some((graph.find(children[1]), entries.clone())),
        );
    }
    let (low, high) = if finite {
        element.range()
    } else {
        (f64::NEG_INFINITY, f64::INFINITY)
    };
    Real {
        low,
        high,
        integer: element.is_integer() && finite,
        ..unknown(free, call)
    }
}

fn arithmetic(op: Op, operands: &[&Real], free: AxisSet, call: bool) -> Real {
    let [a, b] = operands else {
        return unknown(free, call);
    };
    let apply = |x: f64, y: f64| match op {
        Op::Add => x + y,
        _ if x == 0.0 || y == 0.0 => 0.0,
        _ => x * y,
    };
    let constant = a.constant.zip(b.constant).map(|(x, y)| apply(x, y));
    let corners = match op {
        Op::Add => vec![a.low + b.low, a.high + b.high],
        _ => vec![
            apply(a.low, b.low),
            apply(a.low, b.high),
            apply(a.high, b.low),
            apply(a.high, b.high),
        ],
    };
    let table = match (&a.table, &b.table) {
        (Some((c, x)), Some((d, y))) if c == d => {
            Some((*c, x.iter().zip(y).map(|(x, y)| apply(*x, *y)).collect()))
        }
        (Some((c, x)), None) => b
            .constant
            .map(|y| (*c, x.iter().map(|x| apply(*x, y)).collect())),
        (None, Some((c, y))) => a
            .constant
            .map(|x| (*c, y.iter().map(|y| apply(x, *y)).collect())),
        (Some(_), Some(_)) | (None, None) => None,
    };
    Real {
        low: corners.iter().copied().fold(f64::INFINITY, f64::min),
        high: corners.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        integer: a.integer && b.integer,
        constant,
        table,
        ..unknown(free, call)
    }
}
