//! Loads of lanes: from neighbouring bytes at once, from known places of a few bytes by look-ups in a register, else one by
//! one.

use super::nest::{Nest, environments};
use super::{Base, Env, I32, I64};
use crate::rewrite::cost::{Access, access};
use crate::rewrite::extract::Picked;
use crate::rewrite::lang::Node;
use crate::schedule::ScheduleError;
use crate::schedule::index::{AxisId, AxisKind};
use crate::schedule::term::{Load, LoadId, Storage};
use crate::vector::ir::{Bin, Convert, Elem, Op, Shift, Type, Value};

/// Bytes of a register that look-ups read.
const WINDOW: u64 = 16;
const BYTES: Type = Type::new(Elem::I8, WINDOW as u16);

/// Where a code lies: the bytes that its first and last bit are in, and its bits below its first in that byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct At {
    first: u64,
    last: u64,
    shift: u64,
}

impl At {
    fn new(bit: u64, bits: u8) -> At {
        At {
            first: bit / 8,
            last: (bit + u64::from(bits) - 1) / 8,
            shift: bit % 8,
        }
    }

    /// The bit address.
    fn bit(self) -> u64 {
        8 * self.first + self.shift
    }
}

impl Nest<'_, '_, '_> {
    pub(super) fn load(&mut self, node: &Picked, env: &Env) -> Result<Value, ScheduleError> {
        let Some(Node::Ref(number)) = node.data.last() else {
            return Err(ScheduleError::Internal("a load of nothing"));
        };
        let id = LoadId::from_u32(*number);
        let load = self.chosen.placed.terms.loads[id].clone();
        let ty = self.ty(node);
        let lanes: Vec<AxisId> = node.lanes.iter().collect();
        let zeros: Env = self.lane_zeros(env);
        if access(&self.chosen.placed.terms, &self.axes, id, node.lanes) == Access::Contiguous {
            let (base, offset) =
                self.lower
                    .address(Base::Tensor(load.tensor), &load.address, &zeros)?;
            return Ok(self.read(ty, base, offset));
        }
        if let Some(value) = self.known_places(&load, &lanes, &zeros, ty) {
            return Ok(value);
        }
        if let Some(value) = self.known_codes(&load, &lanes, &zeros, ty)? {
            return Ok(value);
        }
        let mut values = Vec::new();
        for lane in environments(&lanes, &self.axes) {
            let mut at = zeros.clone();
            at.extend(lane);
            let scalar = self.scalar_load(&load, &at, ty.elem)?;
            values.push(scalar);
        }
        Ok(match values[..] {
            [one] => one,
            _ => self.build(ty, values),
        })
    }

    /// Scalars as lanes; lanes of the same scalars are one vector.
    fn build(&mut self, ty: Type, lanes: Vec<Value>) -> Value {
        let key = format!("{ty:?} {lanes:?}");
        if let Some(value) = self.shared.iter().rev().find_map(|level| level.get(&key)) {
            return *value;
        }
        let value = self.lower.put(ty, Op::Build(lanes.clone()), &lanes);
        let depth = self.lower.depth_of(value);
        self.shared[depth].insert(key, value);
        value
    }

    /// Numbers that follow from places which are known here, as a constant.
    fn known_places(
        &mut self,
        load: &Load,
        lanes: &[AxisId],
        zeros: &Env,
        ty: Type,
    ) -> Option<Value> {
        let (Storage::Place { .. }, Some(place)) = (load.storage, &load.bit) else {
            return None;
        };
        let numbers = environments(lanes, &self.axes).into_iter().map(|lane| {
            let mut at = zeros.clone();
            at.extend(lane);
            self.lower.known_affine(place, &at)
        });
        let op = match numbers.collect::<Option<Vec<u64>>>()?[..] {
            [one] => Op::IConst(one as i64),
            ref all => Op::VConst(all.to_vec()),
        };
        Some(self.lower.put_at(0, ty, op))
    }

    /// Every lane axis at 0, over the copies that are known.
    pub(super) fn lane_zeros(&self, env: &Env) -> Env {
        let mut zeros = env.clone();
        for (id, axis) in self.axes.iter() {
            if axis.kind == AxisKind::Lane {
                zeros.entry(id).or_insert(0);
            }
        }
        zeros
    }

    fn scalar_load(&mut self, load: &Load, env: &Env, want: Elem) -> Result<Value, ScheduleError> {
        if !matches!(load.storage, Storage::Code { .. } | Storage::Place { .. }) {
            let (base, offset) =
                self.lower
                    .address(Base::Tensor(load.tensor), &load.address, env)?;
            return Ok(self.read(Type::new(want, 1), base, offset));
        }
        if let (Storage::Code { bits }, Some(bit)) = (load.storage, &load.bit)
            && let Some(bit) = self.lower.known_affine(bit, env)
        {
            return self.known_code(load, At::new(bit, bits), bits, env, want);
        }
        let value = self.lower.load_scalar(load, env)?;
        Ok(match (load.storage, want) {
            (Storage::Code { .. } | Storage::Place { .. }, Elem::I8) => self.lower.put(
                Type::new(Elem::I8, 1),
                Op::Convert(Convert::Narrow, value),
                &[value],
            ),
            _ => value,
        })
    }

    /// A load; loads of the same bytes are one.
    fn read(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        let key = format!("{ty:?} {base} {offset}");
        if let Some(value) = self.shared.iter().rev().find_map(|level| level.get(&key)) {
            return *value;
        }
        let value = self.lower.put(ty, Op::Load { base, offset }, &[base]);
        let depth = self.lower.depth_of(value);
        self.shared[depth].insert(key, value);
        value
    }

    /// A code whose place in the block is known.
    fn known_code(
        &mut self,
        load: &Load,
        at: At,
        bits: u8,
        env: &Env,
        want: Elem,
    ) -> Result<Value, ScheduleError> {
        let (base, offset) = self
            .lower
            .address(Base::Tensor(load.tensor), &load.address, env)?;
        let ty = Type::new(want, 1);
        let narrow = |nest: &mut Self, value: Value| match want {
            Elem::I8 => nest
                .lower
                .put(ty, Op::Convert(Convert::Narrow, value), &[value]),
            _ => value,
        };
        let size = at.last - at.first + 1;
        if size > 4 {
            let bit = self.lower.put_at(0, I64, Op::IConst(at.bit() as i64));
            let start = self.lower.put_at(0, I64, Op::IConst(i64::from(offset)));
            let base = self
                .lower
                .put(I64, Op::Bin(Bin::IAdd, base, start), &[base, start]);
            let code = self.lower.code(base, bit, bits)?;
            return Ok(narrow(self, code));
        }
        let word = self.word(base, offset + at.first as i32, size);
        let mut code = word;
        if at.shift > 0 {
            let op = Op::Shift(Shift::UShr, code, at.shift as u8);
            code = self.lower.put(I32, op, &[code]);
        }
        if at.shift + u64::from(bits) < 8 * size {
            let mask = self.lower.put_at(0, I32, Op::IConst((1i64 << bits) - 1));
            code = self.lower.bin(Bin::And, code, mask);
        }
        Ok(narrow(self, code))
    }

    /// One to four bytes as an unsigned number; no byte beside them is read.
    fn word(&mut self, base: Value, offset: i32, size: u64) -> Value {
        let mut sum = None;
        let mut done = 0;
        while done < size {
            let (bytes, elem) = match size - done {
                1 => (1, Elem::I8),
                2 | 3 => (2, Elem::I16),
                _ => (4, Elem::I32),
            };
            let mut part = self.read(Type::new(elem, 1), base, offset + done as i32);
            if bytes < 4 {
                let op = Op::Convert(Convert::WidenU, part);
                part = self.lower.put(I32, op, &[part]);
            }
            if done > 0 {
                let op = Op::Shift(Shift::Shl, part, 8 * done as u8);
                part = self.lower.put(I32, op, &[part]);
            }
            sum = Some(match sum {
                None => part,
                Some(sum) => self.lower.bin(Bin::Or, sum, part),
            });
            done += bytes;
        }
        sum.unwrap_or_else(|| self.lower.put_at(0, I32, Op::IConst(0)))
    }

    /// Codes of at most a byte whose places are known here, if a register holds the bytes that they lie in: their bytes by
    /// look-ups, and a product in place of a shift that differs from lane to lane.
    fn known_codes(
        &mut self,
        load: &Load,
        lanes: &[AxisId],
        zeros: &Env,
        ty: Type,
    ) -> Result<Option<Value>, ScheduleError> {
        let (Storage::Code { bits }, Some(bit)) = (load.storage, &load.bit) else {
            return Ok(None);
        };
        let shared = lanes.iter().all(|l| !load.address.axes().has(*l));
        if ty.elem != Elem::I8 || ty.lanes < 4 || !shared {
            return Ok(None);
        }
        let places = environments(lanes, &self.axes).into_iter().map(|lane| {
            let mut at = zeros.clone();
            at.extend(lane);
            let bit = self.lower.known_affine(bit, &at)?;
            Some(At::new(bit, bits))
        });
        let Some(places) = places.collect::<Option<Vec<At>>>() else {
            return Ok(None);
        };
        let start = places.iter().map(|p| p.first).min().unwrap_or(0);
        let size = places.iter().map(|p| p.last + 1 - start).max().unwrap_or(0);
        if size > WINDOW {
            return Ok(None);
        }
        let (base, offset) = self
            .lower
            .address(Base::Tensor(load.tensor), &load.address, zeros)?;
        let window = self.window(base, offset + start as i32, size);
        let in_order = |(at, place): (usize, &At)| place.bit() == 8 * (start + at as u64);
        if bits == 8 && size == WINDOW && places.iter().enumerate().all(in_order) {
            return Ok(Some(window.bytes));
        }
        let look_up = |nest: &mut Self, byte: &dyn Fn(&At) -> u64| {
            let index = places.iter().map(|p| window.place(byte(p) - start));
            let index = Op::VConst(index.collect());
            let index = nest.lower.put_at(0, ty, index);
            let table = window.bytes;
            nest.lower
                .put(ty, Op::Lookup { table, index }, &[table, index])
        };
        let low = look_up(self, &|p| p.first);
        let shift = places[0].shift;
        if places.iter().all(|p| p.first == p.last && p.shift == shift) {
            let mut codes = low;
            if shift > 0 {
                let op = Op::Shift(Shift::UShr, codes, shift as u8);
                codes = self.lower.put(ty, op, &[codes]);
            }
            if shift + u64::from(bits) < 8 {
                let mask = self.lower.put_at(0, ty, Op::IConst((1i64 << bits) - 1));
                codes = self.lower.bin(Bin::And, codes, mask);
            }
            return Ok(Some(codes));
        }
        let wide = Type::new(Elem::I16, ty.lanes);
        let words = match places.iter().all(|p| p.first == p.last) {
            true => self
                .lower
                .put(wide, Op::Convert(Convert::WidenU, low), &[low]),
            false => {
                let high = look_up(self, &|p| p.last);
                let join = Op::Join { lo: low, hi: high };
                self.lower.put(wide, join, &[low, high])
            }
        };
        // The bits above a code go past the top, those below it go with the shift that all lanes share.
        let factor = |p: &At| 1 << (16 - p.shift - u64::from(bits));
        let factors = Op::VConst(places.iter().map(factor).collect());
        let factors = self.lower.put_at(0, wide, factors);
        let top = self.lower.bin(Bin::IMul, words, factors);
        let down = Op::Shift(Shift::UShr, top, 16 - bits);
        let codes = self.lower.put(wide, down, &[top]);
        let narrow = Op::Convert(Convert::Narrow, codes);
        Ok(Some(self.lower.put(ty, narrow, &[codes])))
    }

    /// Bytes of memory in a register, no byte beside them.
    fn window(&mut self, base: Value, offset: i32, size: u64) -> Window {
        if size == WINDOW {
            let bytes = self.read(BYTES, base, offset);
            return Window {
                bytes,
                words: vec![0, 4, 8, 12],
            };
        }
        // Words in order, the last one up to the end.
        let words: Vec<u64> = (0..size.div_ceil(4))
            .map(|n| (4 * n).min(size.saturating_sub(4)))
            .collect();
        let mut lanes: Vec<Value> = words
            .iter()
            .map(|at| self.word(base, offset + *at as i32, (size - at).min(4)))
            .collect();
        let last = lanes[lanes.len() - 1];
        let words_type = Type::new(Elem::I32, 4);
        let four = match lanes.len() {
            1 => self.lower.put(words_type, Op::Splat(last), &[last]),
            _ => {
                lanes.resize(4, last);
                self.build(words_type, lanes)
            }
        };
        let bytes = self.lower.put(BYTES, Op::Bitcast(four), &[four]);
        Window { bytes, words }
    }
}

/// Bytes of memory in a register.
struct Window {
    bytes: Value,
    /// The first byte of each word of four that was loaded.
    words: Vec<u64>,
}

impl Window {
    /// Where a byte lies in the register.
    fn place(&self, byte: u64) -> u64 {
        let word = self.words.partition_point(|w| *w <= byte).max(1) - 1;
        4 * word as u64 + byte - self.words[word]
    }
}
