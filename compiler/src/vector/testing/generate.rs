//! The generator of test functions: any operation, fed with what there is or with memory.

use super::{BYTES, OUT, Rng, SMALL};
use crate::vector::build::Builder;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Function, ParamKind, Shift, Type, Un, Value};

/// Number of choices of [`Gen::operation`].
pub(super) const CHOICES: usize = Bin::ALL.len()
    + Un::ALL.len()
    + 2 * Shift::ALL.len()
    + Cmp::ALL.len()
    + Convert::ALL.len()
    + 21;

/// Generator of one function.
pub(super) struct Gen<'r> {
    pub(super) rng: &'r mut Rng,
    pub(super) b: Builder,
    bytes: Value,
    floats: Value,
    out: Value,
    stored: i32,
    /// Values that can be used now. Pointers are not among them: they differ from machine to machine.
    pool: Vec<Value>,
    /// Largest magnitude of floats that are integers.
    exact: std::collections::BTreeMap<Value, f64>,
}

impl<'r> Gen<'r> {
    pub(super) fn new(rng: &'r mut Rng, name: &str) -> Gen<'r> {
        let mut b = Builder::new(name);
        let bytes = b.param("bytes", ParamKind::Read);
        let floats = b.param("floats", ParamKind::Read);
        let out = b.param("out", ParamKind::Write);
        Gen {
            rng,
            b,
            bytes,
            floats,
            out,
            stored: 0,
            pool: Vec::new(),
            exact: Default::default(),
        }
    }

    fn keep(&mut self, value: Value) -> Value {
        self.pool.push(value);
        value
    }

    fn bound(&self, value: Value) -> f64 {
        self.exact.get(&value).copied().unwrap_or(f64::INFINITY)
    }

    fn load(&mut self, ty: Type, small: bool) -> Value {
        let range = if ty.elem == Elem::F32 && small {
            SMALL as u64
        } else {
            BYTES as u64
        } - u64::from(ty.bytes());
        let float = ty.elem == Elem::F32;
        let offset = self.rng.below(range / 4 + 1) as i32 * 4
            + if float { 0 } else { self.rng.below(4) as i32 };
        let offset = offset.min(range as i32);
        let value = self
            .b
            .load(ty, if float { self.floats } else { self.bytes }, offset);
        if float && small {
            self.exact.insert(value, 16.0);
        }
        self.keep(value)
    }

    /// A value of a type: from the pool or from memory.
    fn some(&mut self, ty: Type) -> Value {
        let found: Vec<Value> = self
            .pool
            .iter()
            .copied()
            .filter(|v| self.b.ty(*v) == ty)
            .collect();
        if found.is_empty() || self.rng.below(3) == 0 {
            self.load(ty, self.stored % 2 == 0)
        } else {
            self.rng.pick(&found)
        }
    }

    /// An exact float.
    fn exact(&mut self, ty: Type) -> Value {
        let found: Vec<Value> = self
            .pool
            .iter()
            .copied()
            .filter(|v| self.b.ty(*v) == ty && self.bound(*v) < 1000.0)
            .collect();
        if found.is_empty() {
            self.load(ty, true)
        } else {
            self.rng.pick(&found)
        }
    }

    /// Writes a value to the next free bytes of the output.
    pub(super) fn store(&mut self, value: Value) {
        let size = self.b.ty(value).bytes() as i32;
        if self.stored + size <= OUT as i32 {
            self.b.store(value, self.out, self.stored);
            self.stored += size;
        }
    }

    /// One of the operations that can give a type; `None` if the choice does not fit.
    pub(super) fn operation(&mut self, choice: usize, ty: Type) -> Option<Value> {
        let Type { elem, lanes } = ty;
        let int = elem.is_int();
        let scalar = Type::new(elem, 1);
        let before = choice;
        let mut choice = choice;
        let mut take = |n: usize| {
            let here = choice < n;
            let at = choice;
            choice = choice.wrapping_sub(n);
            here.then_some(at)
        };
        if let Some(at) = take(Bin::ALL.len()) {
            let bin = Bin::ALL[at];
            if !bin.takes(elem) {
                return None;
            }
            let (x, y) = (self.some(ty), self.some(ty));
            let value = self.b.bin(bin, x, y);
            let bound = match bin {
                Bin::FAdd | Bin::FSub => self.bound(x) + self.bound(y),
                Bin::FMul => self.bound(x) * self.bound(y),
                _ => f64::INFINITY,
            };
            if bound < 1e6 {
                self.exact.insert(value, bound);
            }
            return Some(self.keep(value));
        }
        let value = if let Some(at) = take(Un::ALL.len()) {
            let un = Un::ALL[at];
            if ty.elem != un.elem() {
                return None;
            }
            let x = self.some(ty);
            self.b.un(un, x)
        } else if let Some(at) = take(Shift::ALL.len()) {
            if !int {
                return None;
            }
            let (x, n) = (self.some(ty), self.rng.below(u64::from(elem.bits())) as u8);
            self.b.shift(Shift::ALL[at], x, n)
        } else if let Some(at) = take(Shift::ALL.len()) {
            if lanes > 1 || !matches!(elem, Elem::I32 | Elem::I64) {
                return None;
            }
            let (x, n) = (self.some(ty), self.some(ty));
            self.b.shift_by(Shift::ALL[at], x, n)
        } else if take(1).is_some() {
            if ty != Type::new(Elem::I64, 1) {
                return None;
            }
            let (x, by) = (self.some(ty), 1 + self.rng.below(300) as u32);
            self.b.udiv(x, by)
        } else if let Some(at) = take(Cmp::ALL.len()) {
            let cmp = Cmp::ALL[at];
            if !int || (!cmp.is_int() && elem != Elem::I32) {
                return None;
            }
            let operand = if cmp.is_int() {
                ty
            } else {
                Type::new(Elem::F32, lanes)
            };
            let (x, y) = (self.some(operand), self.some(operand));
            self.b.cmp(cmp, x, y)
        } else if let Some(at) = take(Convert::ALL.len()) {
            let convert = Convert::ALL[at];
            let sources: Vec<Elem> = Elem::ALL
                .into_iter()
                .filter(|from| match convert {
                    Convert::WidenS | Convert::WidenU => {
                        from.is_int() && int && from.bits() < elem.bits()
                    }
                    Convert::Narrow => from.is_int() && int && from.bits() > elem.bits(),
                    Convert::IntToFloat => *from == Elem::I32 && elem == Elem::F32,
                    Convert::FloatToInt => *from == Elem::F32 && elem == Elem::I32,
                })
                .collect();
            if sources.is_empty() {
                return None;
            }
            let from = self.rng.pick(&sources);
            let x = self.some(Type::new(from, lanes));
            self.b.convert(convert, elem, x)
        } else {
            // The rest, one by one.
            let at = (0..).find(|n| take(1).map(|_| *n).is_some())?;
            match at {
                0 if !int => {
                    let (x, y, z) = (self.exact(ty), self.exact(ty), self.exact(ty));
                    self.b.mul_add(x, y, z)
                }
                1 => {
                    let mask = if int {
                        let (x, y) = (self.some(ty), self.some(ty));
                        self.b.cmp(Cmp::SLt, x, y)
                    } else {
                        let (x, y) = (self.some(ty), self.some(ty));
                        self.b.cmp(Cmp::FLe, x, y)
                    };
                    let (x, y) = (self.some(ty), self.some(ty));
                    self.b.select(mask, x, y)
                }
                2 => {
                    let other = self.rng.pick(&Elem::ALL);
                    let count = ty.bytes() * 8 / other.bits();
                    if count == 0 || other == elem {
                        return None;
                    }
                    let from = Type::new(other, count as u16);
                    let x = if other == Elem::F32 {
                        self.exact(from)
                    } else {
                        self.some(from)
                    };
                    let value = self.b.bitcast(ty, x);
                    // Floats made of any bits may be signalling NaNs: they are only stored.
                    if !int {
                        self.store(value);
                        return Some(value);
                    }
                    value
                }
                3 => {
                    let x = self.some(scalar);
                    self.b.splat(lanes, x)
                }
                4 | 5 => {
                    let short = lanes >> self.rng.below(u64::from(lanes.ilog2()) + 1);
                    let x = self.some(Type::new(elem, short));
                    if at == 4 {
                        self.b.tile(lanes, x)
                    } else {
                        self.b.repeat(lanes, x)
                    }
                }
                6 => {
                    let values = (0..lanes).map(|_| self.some(scalar)).collect();
                    self.b.build(elem, values)
                }
                7 if lanes == 1 => {
                    let from = 2 << self.rng.below(6);
                    let lane = self.rng.below(u64::from(from)) as u16;
                    let x = self.some(Type::new(elem, from));
                    self.b.extract(x, lane)
                }
                8 if lanes < 64 => {
                    let from = lanes << (1 + self.rng.below(u64::from(6 - lanes.ilog2())));
                    let start = match self.rng.below(2) {
                        0 => self.rng.below(u64::from(from / lanes)) as u16 * lanes,
                        _ => self.rng.below(u64::from(from - lanes + 1)) as u16,
                    };
                    let x = self.some(Type::new(elem, from));
                    self.b.slice(lanes, x, start)
                }
                9 if matches!(elem, Elem::I16 | Elem::I32 | Elem::I64) => {
                    let half = match elem {
                        Elem::I16 => Elem::I8,
                        Elem::I32 => Elem::I16,
                        Elem::I64 | Elem::I8 | Elem::F32 => Elem::I32,
                    };
                    let (x, y) = (
                        self.some(Type::new(half, lanes)),
                        self.some(Type::new(half, lanes)),
                    );
                    self.b.join(x, y)
                }
                10 if elem == Elem::I8 => {
                    let (table, x) = (self.some(Type::new(Elem::I8, 16)), self.some(ty));
                    let low = self.b.iconst(ty, 15);
                    let index = self.b.and(x, low);
                    self.b.lookup(table, index)
                }
                11 if elem == Elem::I16 => {
                    let from = Type::new(Elem::I8, lanes * 2);
                    let (x, y) = (self.some(from), self.some(from));
                    self.b.mul_pairs_u8s8(x, y)
                }
                12 if elem == Elem::I32 => {
                    let from = Type::new(Elem::I16, lanes * 2);
                    let (x, y) = (self.some(from), self.some(from));
                    self.b.mul_pairs_s16(x, y)
                }
                13 | 14 if elem == Elem::I32 => {
                    let from = Type::new(Elem::I8, lanes * 4);
                    let (acc, x, y) = (self.some(ty), self.some(from), self.some(from));
                    if at == 13 {
                        self.b.dot4_u8s8(acc, x, y)
                    } else {
                        self.b.dot4_s8s8(acc, x, y)
                    }
                }
                15 | 16 if lanes < 64 => {
                    let fits = if at == 15 {
                        matches!(elem, Elem::I16 | Elem::I32 | Elem::F32)
                    } else {
                        !int
                    };
                    if !fits {
                        return None;
                    }
                    let from = lanes << (1 + self.rng.below(u64::from(6 - lanes.ilog2())));
                    let x = self.some(Type::new(elem, from));
                    if at == 15 {
                        self.b.fold(lanes, x)
                    } else {
                        self.b.fold_max(lanes, x)
                    }
                }
                17 => {
                    if int {
                        let number = self.rng.next() as i64 >> (64 - elem.bits());
                        self.b.iconst(ty, number)
                    } else {
                        self.b.fconst(lanes, self.rng.below(100) as f32 / 8.0)
                    }
                }
                18 => {
                    let bits = elem.bits();
                    let any = |rng: &mut Rng| match elem {
                        Elem::F32 => u64::from((rng.below(100) as f32 / 8.0).to_bits()),
                        Elem::I8 | Elem::I16 | Elem::I32 | Elem::I64 => rng.next() >> (64 - bits),
                    };
                    let lanes = (0..lanes).map(|_| any(self.rng)).collect();
                    self.b.vconst(elem, lanes)
                }
                19 => self.load(ty, false),
                20 if elem == Elem::I8 => {
                    let table = (0..OUT as u64 / 256)
                        .map(|n| (n * 37 + u64::from(lanes)) as u8)
                        .collect();
                    let table = self.b.table("numbers", table);
                    self.b.load(ty, table, i32::from(lanes))
                }
                _ => return None,
            }
        };
        debug_assert_eq!(self.b.ty(value), ty, "choice {before}");
        Some(self.keep(value))
    }

    /// Some operations; with depth left, also a loop that carries values.
    pub(super) fn region(&mut self, count: usize, depth: usize) {
        for _ in 0..count {
            let ty = Type::new(self.rng.pick(&Elem::ALL), 1 << self.rng.below(7));
            let choice = self.rng.below(CHOICES as u64) as usize;
            if let Some(value) = self.operation(choice, ty)
                && self.rng.below(2) == 0
            {
                self.store(value);
            }
            if depth > 0 && self.rng.below(count as u64) == 0 {
                self.looped(count / 2, depth - 1);
            }
        }
    }

    fn looped(&mut self, count: usize, depth: usize) {
        let carried: Vec<Value> = (0..1 + self.rng.below(4))
            .map(|_| {
                let ty = Type::new(self.rng.pick(&Elem::ALL), 1 << self.rng.below(6));
                self.some(ty)
            })
            .collect();
        let from = self.b.number_of(self.rng.below(3) as i64);
        let to = self.b.number_of(self.rng.below(12) as i64);
        let outside = self.pool.len();
        let step = 1 + self.rng.below(3) as i64;
        let (counter, inside) = self.b.open_loop("loop", from, to, step, &carried);
        self.pool.push(counter);
        self.pool.extend(&inside);
        let hoisted = self.b.at(0, |b| b.number_of(7));
        let sum = self.b.iadd(counter, hoisted);
        self.keep(sum);
        self.region(count, depth);
        let next: Vec<Value> = inside
            .iter()
            .map(|v| {
                let ty = self.b.ty(*v);
                self.some(ty)
            })
            .collect();
        let results = self.b.close_loop(&next);
        self.pool.truncate(outside);
        self.pool.extend(results);
    }

    pub(super) fn finish(mut self) -> Function {
        for value in self.pool.clone() {
            self.store(value);
        }
        self.b.finish()
    }
}
