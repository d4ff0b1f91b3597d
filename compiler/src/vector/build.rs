//! Builds functions of the vector IR. Operations can be appended to an outer region while a loop is open: that is how what
//! does not change in a loop is kept out of it.

use super::ir::{
    Bin, Carried, Convert, Elem, Function, Loop, Op, Param, ParamId, ParamKind, Shift, Step, Table,
    TableId, Type, Value,
};
use cranelift_entity::PrimaryMap;
use std::collections::{BTreeMap, BTreeSet};

/// A loop that is still open.
#[derive(Debug)]
struct Open {
    name: String,
    counter: Value,
    from: Value,
    to: Value,
    step: i64,
    inside: Vec<Value>,
    init: Vec<Value>,
}

/// A function in the making.
#[derive(Debug)]
pub struct Builder {
    function: Function,
    /// Steps of the open regions: the body, then each open loop.
    regions: Vec<Vec<Step>>,
    open: Vec<Open>,
    params: BTreeMap<ParamId, Value>,
    tables: BTreeMap<TableId, Value>,
    /// Scalar integer constants by value, for folding.
    numbers: BTreeMap<Value, i64>,
    /// Region that [`Builder::push`] appends to, if it is not the innermost.
    chosen: Option<usize>,
}

impl Builder {
    /// An empty function.
    pub fn new(name: &str) -> Builder {
        Builder {
            function: Function {
                name: name.to_owned(),
                params: PrimaryMap::new(),
                tables: PrimaryMap::new(),
                types: PrimaryMap::new(),
                body: Vec::new(),
            },
            regions: vec![Vec::new()],
            open: Vec::new(),
            params: BTreeMap::new(),
            tables: BTreeMap::new(),
            numbers: BTreeMap::new(),
            chosen: None,
        }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.function.types[value]
    }

    /// Depth of the innermost open region; 0 is the body.
    pub fn depth(&self) -> usize {
        self.regions.len() - 1
    }

    /// Builds in the region at a depth for a while: what `build` appends goes there, in front of the loop that is open in
    /// it. Depths beyond the innermost region mean the innermost.
    pub fn at<T>(&mut self, depth: usize, build: impl FnOnce(&mut Builder) -> T) -> T {
        let before = self.chosen.replace(depth.min(self.depth()));
        let result = build(self);
        self.chosen = before;
        result
    }

    /// Where [`Builder::push`] appends.
    pub(super) fn current(&self) -> usize {
        self.chosen.unwrap_or(self.depth())
    }

    /// A new parameter, as an `i64` at the start of the body.
    pub fn param(&mut self, name: &str, kind: ParamKind) -> Value {
        let name = match kind {
            ParamKind::Scalar(_) => self.free_name(name, 0),
            _ => name.to_owned(),
        };
        let id = self.function.params.push(Param { name, kind });
        let value = self.first(Op::Param(id));
        self.params.insert(id, value);
        value
    }

    /// The address of a constant table; tables with equal bytes are one.
    pub fn table(&mut self, name: &str, bytes: Vec<u8>) -> Value {
        if let Some((id, _)) = self.function.tables.iter().find(|(_, t)| t.bytes == bytes) {
            return self.tables[&id];
        }
        let same = self
            .function
            .tables
            .values()
            .filter(|t| t.name.starts_with(name))
            .count();
        let name = self.free_name(name, same);
        let id = self.function.tables.push(Table { name, bytes });
        let value = self.first(Op::TableAddr(id));
        self.tables.insert(id, value);
        value
    }

    /// A name that no parameter and no table has: as it is, or with a number from `first` on.
    fn free_name(&self, name: &str, first: usize) -> String {
        let params = self.function.params.values().map(|p| p.name.as_str());
        let tables = self.function.tables.values().map(|t| t.name.as_str());
        let taken: BTreeSet<&str> = params.chain(tables).collect();
        let numbered = |n: usize| match n {
            0 => name.to_owned(),
            n => format!("{name}{n}"),
        };
        let mut names = (first..).map(numbered);
        names
            .find(|n| !taken.contains(n.as_str()))
            .unwrap_or_default()
    }

    /// An operation without operands, before all others.
    fn first(&mut self, op: Op) -> Value {
        let value = self.function.types.push(Type::new(Elem::I64, 1));
        let steps = &mut self.regions[0];
        let at = steps
            .iter()
            .position(|s| !matches!(s, Step::Let(_, Op::Param(_) | Op::TableAddr(_))))
            .unwrap_or(steps.len());
        steps.insert(at, Step::Let(value, op));
        value
    }

    /// Appends an operation to the innermost open region, or to the one chosen with [`Builder::at`].
    pub fn push(&mut self, ty: Type, op: Op) -> Value {
        self.push_at(self.current(), ty, op)
    }

    /// Appends an operation to the region at a depth. Trivial operations give their operand instead.
    pub fn push_at(&mut self, depth: usize, ty: Type, op: Op) -> Value {
        if let Some(value) = self.simplify(ty, &op) {
            return value;
        }
        let op = self.known(ty, &op).map_or(op, Op::IConst);
        let value = self.function.types.push(ty);
        if let (Op::IConst(n), 1) = (&op, ty.lanes) {
            let unused = 64 - ty.elem.bits();
            self.numbers.insert(value, (n << unused) >> unused);
        }
        self.append(depth, Step::Let(value, op));
        value
    }

    fn append(&mut self, depth: usize, step: Step) {
        let depth = depth.min(self.depth());
        self.regions[depth].push(step);
    }

    fn number(&self, value: Value) -> Option<i64> {
        self.numbers.get(&value).copied()
    }

    fn simplify(&self, ty: Type, op: &Op) -> Option<Value> {
        match *op {
            Op::Bin(Bin::IAdd | Bin::ISub | Bin::Or | Bin::Xor, a, b)
                if self.number(b) == Some(0) =>
            {
                Some(a)
            }
            Op::Bin(Bin::IAdd | Bin::Or | Bin::Xor, a, b) if self.number(a) == Some(0) => Some(b),
            Op::Bin(Bin::IMul, a, b) if self.number(b) == Some(1) => Some(a),
            Op::Bin(Bin::IMul, a, b) if self.number(a) == Some(1) => Some(b),
            Op::Bin(Bin::IMul | Bin::And, _, b) if self.number(b) == Some(0) => Some(b),
            Op::Bin(Bin::IMul | Bin::And, a, _) if self.number(a) == Some(0) => Some(a),
            Op::Shift(_, a, 0) => Some(a),
            Op::Bitcast(a)
            | Op::Splat(a)
            | Op::Tile(a)
            | Op::Repeat(a)
            | Op::Slice(a, _)
            | Op::Fold(a)
            | Op::FoldMax(a)
                if self.ty(a) == ty =>
            {
                Some(a)
            }
            _ => None,
        }
    }

    /// Arithmetic on two constant `i64`.
    fn known(&self, ty: Type, op: &Op) -> Option<i64> {
        if ty != Type::new(Elem::I64, 1) {
            return None;
        }
        match *op {
            Op::Bin(bin, a, b) => {
                let (a, b) = (self.number(a)?, self.number(b)?);
                match bin {
                    Bin::IAdd => Some(a.wrapping_add(b)),
                    Bin::ISub => Some(a.wrapping_sub(b)),
                    Bin::IMul => Some(a.wrapping_mul(b)),
                    Bin::And => Some(a & b),
                    Bin::Or => Some(a | b),
                    Bin::Xor => Some(a ^ b),
                    Bin::SMin => Some(a.min(b)),
                    Bin::SMax => Some(a.max(b)),
                    Bin::MulHigh
                    | Bin::FAdd
                    | Bin::FSub
                    | Bin::FMul
                    | Bin::FDiv
                    | Bin::FMin
                    | Bin::FMax => None,
                }
            }
            Op::Convert(Convert::WidenS, a) => self.number(a),
            Op::Shift(Shift::Shl, a, n) => Some(self.number(a)?.wrapping_shl(u32::from(n))),
            _ => None,
        }
    }

    /// Appends a store to the region at a depth.
    pub fn store_at(&mut self, depth: usize, value: Value, base: Value, offset: i32) {
        self.regions[depth].push(Step::Store {
            value,
            base,
            offset,
        });
    }

    /// Opens a loop in the innermost region; returns its counter and the carried values inside.
    pub fn open_loop(
        &mut self,
        name: &str,
        from: Value,
        to: Value,
        step: i64,
        init: &[Value],
    ) -> (Value, Vec<Value>) {
        let counter = self.function.types.push(Type::new(Elem::I64, 1));
        let inside: Vec<Value> = init
            .iter()
            .map(|v| self.function.types.push(self.function.types[*v]))
            .collect();
        self.open.push(Open {
            name: name.to_owned(),
            counter,
            from,
            to,
            step,
            inside: inside.clone(),
            init: init.to_vec(),
        });
        self.regions.push(Vec::new());
        (counter, inside)
    }

    /// Closes the innermost loop, with the values that the next round carries; returns their values after the loop.
    /// Carried values without a next one keep theirs. Without an open loop it does nothing.
    pub fn close_loop(&mut self, next: &[Value]) -> Vec<Value> {
        let (Some(open), Some(body)) = (self.open.pop(), self.regions.pop()) else {
            return Vec::new();
        };
        let results: Vec<Value> = open
            .inside
            .iter()
            .map(|v| self.function.types.push(self.function.types[*v]))
            .collect();
        let carried = open
            .inside
            .iter()
            .zip(&open.init)
            .zip(&results)
            .enumerate()
            .map(|(at, ((inside, init), result))| {
                let next = next.get(at).unwrap_or(inside);
                Carried {
                    inside: *inside,
                    init: *init,
                    next: *next,
                    result: *result,
                }
            })
            .collect();
        let step = Loop {
            name: open.name,
            counter: open.counter,
            from: open.from,
            to: open.to,
            step: open.step,
            carried,
            body,
        };
        let depth = self.depth();
        self.regions[depth].push(Step::Loop(Box::new(step)));
        results
    }

    /// The function; loops that are still open are closed.
    pub fn finish(mut self) -> Function {
        while !self.open.is_empty() {
            let inside: Vec<Value> = self
                .open
                .last()
                .map(|o| o.inside.clone())
                .unwrap_or_default();
            self.close_loop(&inside);
        }
        self.function.body = self.regions.pop().unwrap_or_default();
        self.function
    }
}
