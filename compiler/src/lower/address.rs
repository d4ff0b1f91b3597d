//! Addresses: affine expressions into pointer arithmetic, outer loops first, so that the parts that do not change in a loop
//! are computed outside it.

use super::{Base, Env, I32, I64, Lower};
use crate::schedule::ScheduleError;
use crate::schedule::index::{Affine, Sym};
use crate::schedule::term::{Load, Storage};
use crate::spec::kernel::TensorId;
use crate::vector::ir::{Bin, Convert, Elem, Op, Scalar, Shift, Type, Value};

impl Lower<'_> {
    /// A pointer (or number) and the constant bytes to add to it.
    pub(super) fn address(
        &mut self,
        base: Base,
        affine: &Affine,
        env: &Env,
    ) -> Result<(Value, i32), ScheduleError> {
        let mut offset = 0i64;
        let mut fixed = Vec::new();
        let mut terms: Vec<(usize, Sym, Scalar, u64, Value)> = Vec::new();
        for (sym, coefficient) in &affine.terms {
            match self.known(sym, env) {
                Some(value) => match coefficient {
                    Scalar::Const(c) => offset += (*c * value) as i64,
                    other => fixed.push((other.clone(), value)),
                },
                None => {
                    let value = self.symbol(sym, env)?;
                    terms.push((
                        self.depth_of(value),
                        sym.clone(),
                        coefficient.clone(),
                        1,
                        value,
                    ));
                }
            }
        }
        let mut start = Scalar::Const(0);
        match &affine.offset {
            Scalar::Const(c) => offset += *c as i64,
            other => start = other.clone(),
        }
        for (scalar, times) in fixed {
            if times > 0 {
                start = crate::schedule::index::add(
                    start,
                    crate::schedule::index::mul(scalar, Scalar::Const(times)),
                );
            }
        }
        terms.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut pointer = self.start(base, &start);
        let mut prefix = Vec::new();
        for (_, sym, coefficient, _, value) in terms {
            // The value stands for the symbol's contents: a table or gather may differ by the environment.
            prefix.push((sym, coefficient.clone(), u64::from(value.as_u32())));
            let key = (base, prefix.clone(), start.clone());
            pointer = match self.addresses.iter().find_map(|level| level.get(&key)) {
                Some(known) => *known,
                None => {
                    let scaled = self.times(value, &coefficient);
                    let sum = self.plus(pointer, scaled);
                    let depth = self.depth_of(sum);
                    self.addresses[depth].insert(key, sum);
                    sum
                }
            };
        }
        match i32::try_from(offset) {
            Ok(offset) => Ok((pointer, offset)),
            Err(_) => {
                let far = self.put_at(0, I64, Op::IConst(offset));
                Ok((self.plus(pointer, far), 0))
            }
        }
    }

    fn start(&mut self, base: Base, start: &Scalar) -> Value {
        let base = match base {
            Base::Tensor(t) => self.pointers[&t],
            Base::Stage(p) => p,
            Base::Zero => return self.scalar(start),
        };
        if *start == Scalar::Const(0) {
            return base;
        }
        let start = self.scalar(start);
        self.plus(base, start)
    }

    fn plus(&mut self, a: Value, b: Value) -> Value {
        self.put(I64, Op::Bin(Bin::IAdd, a, b), &[a, b])
    }

    fn times(&mut self, value: Value, coefficient: &Scalar) -> Value {
        if *coefficient == Scalar::Const(1) {
            return value;
        }
        if let Scalar::Const(c) = coefficient
            && c.is_power_of_two()
        {
            return self.put(
                I64,
                Op::Shift(Shift::Shl, value, c.trailing_zeros() as u8),
                &[value],
            );
        }
        let coefficient = self.scalar(coefficient);
        self.put(
            I64,
            Op::Bin(Bin::IMul, value, coefficient),
            &[value, coefficient],
        )
    }

    fn quotient(&mut self, value: Value, by: u64) -> Result<Value, ScheduleError> {
        if by.is_power_of_two() {
            let shift = by.trailing_zeros() as u8;
            return Ok(self.put(I64, Op::Shift(Shift::UShr, value, shift), &[value]));
        }
        let by = u32::try_from(by)
            .map_err(|_| ScheduleError::Unsupported(format!("dividing an index by {by}")))?;
        Ok(self.put(I64, Op::UDiv(value, by), &[value]))
    }

    /// The value of a symbol that is known here.
    pub(super) fn known(&self, sym: &Sym, env: &Env) -> Option<u64> {
        match sym {
            Sym::Axis(a) => env.get(a).copied(),
            Sym::Table(entries, at) => {
                let at = self.known_affine(at, env)?;
                entries.get(at as usize).map(|e| u64::from(*e))
            }
            Sym::Quotient(value, by) => self.known_affine(value, env).map(|v| v / by),
            Sym::Remainder(value, by) => self.known_affine(value, env).map(|v| v % by),
            Sym::Gather { .. } => None,
        }
    }

    /// The value of an expression that is known here.
    pub(super) fn known_affine(&self, affine: &Affine, env: &Env) -> Option<u64> {
        let Scalar::Const(offset) = affine.offset else {
            return None;
        };
        affine
            .terms
            .iter()
            .try_fold(offset, |sum, (sym, coefficient)| match coefficient {
                Scalar::Const(c) => Some(sum + c * self.known(sym, env)?),
                _ => None,
            })
    }

    fn symbol(&mut self, sym: &Sym, env: &Env) -> Result<Value, ScheduleError> {
        match sym {
            Sym::Axis(a) => match self.counters.get(a) {
                Some(counter) => Ok(*counter),
                None => Ok(self.put_at(0, I64, Op::IConst(0))),
            },
            Sym::Table(entries, at) => {
                let bytes = entries.iter().flat_map(|e| e.to_le_bytes()).collect();
                let table = self.table("addresses", bytes);
                let four = Scalar::Const(4);
                let at = at.as_ref().clone().times(&four);
                let at = self.number(&at, env)?;
                let pointer = self.plus(table, at);
                let entry = self.put(
                    I32,
                    Op::Load {
                        base: pointer,
                        offset: 0,
                    },
                    &[pointer],
                );
                Ok(self.put(I64, Op::Convert(Convert::WidenU, entry), &[entry]))
            }
            Sym::Quotient(value, by) => {
                let value = self.number(value, env)?;
                self.quotient(value, *by)
            }
            Sym::Remainder(value, by) => {
                let value = self.number(value, env)?;
                let quotient = self.quotient(value, *by)?;
                let whole = self.times(quotient, &Scalar::Const(*by));
                Ok(self.put(I64, Op::Bin(Bin::ISub, value, whole), &[value, whole]))
            }
            Sym::Gather {
                tensor,
                address,
                bytes,
                signed,
            } => {
                let (base, offset) =
                    self.address(Base::Tensor(TensorId::from_u32(*tensor)), address, env)?;
                let elem = match bytes {
                    1 => Elem::I8,
                    2 => Elem::I16,
                    _ => Elem::I32,
                };
                let index = self.put(Type::new(elem, 1), Op::Load { base, offset }, &[base]);
                let widen = if *signed {
                    Convert::WidenS
                } else {
                    Convert::WidenU
                };
                Ok(self.put(I64, Op::Convert(widen, index), &[index]))
            }
        }
    }

    /// The address of a constant table; equal tables are one.
    pub(super) fn table(&mut self, name: &str, bytes: Vec<u8>) -> Value {
        let value = self.b.table(name, bytes);
        self.depth.insert(value, 0);
        value
    }

    /// A scalar as it lies in memory; a code of odd width as `i32`, zero extended.
    pub(super) fn load_scalar(&mut self, load: &Load, env: &Env) -> Result<Value, ScheduleError> {
        if let (Storage::Place { .. }, Some(place)) = (load.storage, &load.bit) {
            let number = self.number(place, env)?;
            return Ok(self.put(I32, Op::Convert(Convert::Narrow, number), &[number]));
        }
        let (base, offset) = self.address(Base::Tensor(load.tensor), &load.address, env)?;
        let elem = match load.storage {
            Storage::U8 | Storage::I8 => Elem::I8,
            Storage::U16 | Storage::I16 => Elem::I16,
            Storage::I32 => Elem::I32,
            Storage::F32 => Elem::F32,
            Storage::Code { bits } => return self.load_code(load, bits, base, offset, env),
            Storage::Place { .. } => {
                return Err(ScheduleError::Internal("a place without a number"));
            }
        };
        Ok(self.put(Type::new(elem, 1), Op::Load { base, offset }, &[base]))
    }

    /// A code at any bit address.
    fn load_code(
        &mut self,
        load: &Load,
        bits: u8,
        base: Value,
        offset: i32,
        env: &Env,
    ) -> Result<Value, ScheduleError> {
        let Some(bit) = &load.bit else {
            return Err(ScheduleError::Internal("a code without a bit address"));
        };
        let base = match offset {
            0 => base,
            offset => {
                let offset = self.put_at(0, I64, Op::IConst(i64::from(offset)));
                self.plus(base, offset)
            }
        };
        let bit = self.number(bit, env)?;
        self.code(base, bit, bits)
    }

    /// A code at a bit address after a pointer, as `i32`: the bytes that hold it, and no byte beyond, joined and shifted.
    pub(super) fn code(
        &mut self,
        base: Value,
        bit: Value,
        bits: u8,
    ) -> Result<Value, ScheduleError> {
        let first = self.put(I64, Op::Shift(Shift::UShr, bit, 3), &[bit]);
        let width = self.put_at(0, I64, Op::IConst(i64::from(bits) - 1));
        let end = self.plus(bit, width);
        let last = self.put(I64, Op::Shift(Shift::UShr, end, 3), &[end]);
        let mut word = None;
        for byte in 0..(u32::from(bits) + 7).div_ceil(8) {
            let at = match byte {
                0 => first,
                n => {
                    let n = self.put_at(0, I64, Op::IConst(i64::from(n)));
                    let next = self.plus(first, n);
                    self.put(I64, Op::Bin(Bin::SMin, next, last), &[next, last])
                }
            };
            let pointer = self.plus(base, at);
            let value = self.put(
                Type::new(Elem::I8, 1),
                Op::Load {
                    base: pointer,
                    offset: 0,
                },
                &[pointer],
            );
            let wide = self.put(I64, Op::Convert(Convert::WidenU, value), &[value]);
            let placed = match byte {
                0 => wide,
                n => self.put(I64, Op::Shift(Shift::Shl, wide, (8 * n) as u8), &[wide]),
            };
            word = Some(match word {
                None => placed,
                Some(sum) => self.put(I64, Op::Bin(Bin::Or, sum, placed), &[sum, placed]),
            });
        }
        let word = word.ok_or(ScheduleError::Internal("a code of no bits"))?;
        let seven = self.put_at(0, I64, Op::IConst(7));
        let shift = self.put(I64, Op::Bin(Bin::And, bit, seven), &[bit, seven]);
        let shifted = self.put(I64, Op::ShiftBy(Shift::UShr, word, shift), &[word, shift]);
        let mask = self.put_at(0, I64, Op::IConst((1i64 << bits) - 1));
        let code = self.put(I64, Op::Bin(Bin::And, shifted, mask), &[shifted, mask]);
        Ok(self.put(I32, Op::Convert(Convert::Narrow, code), &[code]))
    }
}
