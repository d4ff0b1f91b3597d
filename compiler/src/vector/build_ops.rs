//! One method of [`Builder`] for each operation, with the type of the result where it follows from the operands. They
//! append to the innermost open region; [`Builder::push_at`] appends elsewhere.

use super::build::Builder;
use super::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un, Value};

impl Builder {
    /// Every lane the same integer.
    pub fn iconst(&mut self, ty: Type, n: i64) -> Value {
        self.push(ty, Op::IConst(n))
    }

    /// An `i64` number.
    pub fn number_of(&mut self, n: i64) -> Value {
        self.iconst(Type::new(Elem::I64, 1), n)
    }

    /// Every lane the same float.
    pub fn fconst(&mut self, lanes: u16, x: f32) -> Value {
        self.push(Type::new(Elem::F32, lanes), Op::FConst(x.to_bits()))
    }

    /// Lane by lane, raw bits.
    pub fn vconst(&mut self, elem: Elem, lanes: Vec<u64>) -> Value {
        let ty = Type::new(elem, lanes.len() as u16);
        self.push(ty, Op::VConst(lanes))
    }

    /// A load from `base + offset` bytes.
    pub fn load(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        self.push(ty, Op::Load { base, offset })
    }

    /// A store to `base + offset` bytes.
    pub fn store(&mut self, value: Value, base: Value, offset: i32) {
        self.store_at(self.current(), value, base, offset);
    }

    /// A binary operation.
    pub fn bin(&mut self, bin: Bin, a: Value, b: Value) -> Value {
        self.push(self.ty(a), Op::Bin(bin, a, b))
    }

    /// Integer sum.
    pub fn iadd(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::IAdd, a, b)
    }

    /// Integer difference.
    pub fn isub(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::ISub, a, b)
    }

    /// Integer product.
    pub fn imul(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::IMul, a, b)
    }

    /// Bitwise and.
    pub fn and(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::And, a, b)
    }

    /// Bitwise or.
    pub fn or(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::Or, a, b)
    }

    /// Bitwise exclusive or.
    pub fn xor(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::Xor, a, b)
    }

    /// Float sum.
    pub fn fadd(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::FAdd, a, b)
    }

    /// Float difference.
    pub fn fsub(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::FSub, a, b)
    }

    /// Float product.
    pub fn fmul(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::FMul, a, b)
    }

    /// Float quotient.
    pub fn fdiv(&mut self, a: Value, b: Value) -> Value {
        self.bin(Bin::FDiv, a, b)
    }

    /// A unary operation.
    pub fn un(&mut self, un: Un, a: Value) -> Value {
        self.push(self.ty(a), Op::Un(un, a))
    }

    /// A shift by a constant.
    pub fn shift(&mut self, shift: Shift, a: Value, by: u8) -> Value {
        self.push(self.ty(a), Op::Shift(shift, a, by))
    }

    /// A shift of a scalar by a scalar.
    pub fn shift_by(&mut self, shift: Shift, a: Value, by: Value) -> Value {
        self.push(self.ty(a), Op::ShiftBy(shift, a, by))
    }

    /// The unsigned quotient of an i64 by a constant that is not 0.
    pub fn udiv(&mut self, a: Value, by: u32) -> Value {
        self.push(self.ty(a), Op::UDiv(a, by))
    }

    /// `a * b + c`.
    pub fn mul_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        self.push(self.ty(a), Op::MulAdd(a, b, c))
    }

    /// A comparison, as a mask.
    pub fn cmp(&mut self, cmp: Cmp, a: Value, b: Value) -> Value {
        self.push(self.ty(a).as_int(), Op::Cmp(cmp, a, b))
    }

    /// `mask ? a : b`.
    pub fn select(&mut self, mask: Value, a: Value, b: Value) -> Value {
        self.push(self.ty(a), Op::Select(mask, a, b))
    }

    /// A conversion to lanes of another element.
    pub fn convert(&mut self, convert: Convert, elem: Elem, a: Value) -> Value {
        let ty = Type::new(elem, self.ty(a).lanes);
        self.push(ty, Op::Convert(convert, a))
    }

    /// The same bits as another type.
    pub fn bitcast(&mut self, ty: Type, a: Value) -> Value {
        self.push(ty, Op::Bitcast(a))
    }

    /// A scalar in every lane.
    pub fn splat(&mut self, lanes: u16, a: Value) -> Value {
        let ty = Type::new(self.ty(a).elem, lanes);
        self.push(ty, Op::Splat(a))
    }

    /// A short vector over and over.
    pub fn tile(&mut self, lanes: u16, a: Value) -> Value {
        let ty = Type::new(self.ty(a).elem, lanes);
        self.push(ty, Op::Tile(a))
    }

    /// Each lane of a short vector several times.
    pub fn repeat(&mut self, lanes: u16, a: Value) -> Value {
        let ty = Type::new(self.ty(a).elem, lanes);
        self.push(ty, Op::Repeat(a))
    }

    /// A vector of scalars, at least one.
    pub fn build(&mut self, elem: Elem, values: Vec<Value>) -> Value {
        let ty = Type::new(elem, values.len() as u16);
        self.push(ty, Op::Build(values))
    }

    /// One lane.
    pub fn extract(&mut self, a: Value, lane: u16) -> Value {
        let ty = Type::new(self.ty(a).elem, 1);
        self.push(ty, Op::Extract(a, lane))
    }

    /// Some neighbouring lanes.
    pub fn slice(&mut self, lanes: u16, a: Value, start: u16) -> Value {
        let ty = Type::new(self.ty(a).elem, lanes);
        self.push(ty, Op::Slice(a, start))
    }

    /// Halves of wider integers put together.
    pub fn join(&mut self, lo: Value, hi: Value) -> Value {
        let ty = self.ty(lo);
        self.push(Type::new(wider(ty.elem), ty.lanes), Op::Join { lo, hi })
    }

    /// Entries of a table of 16 bytes.
    pub fn lookup(&mut self, table: Value, index: Value) -> Value {
        self.push(self.ty(index), Op::Lookup { table, index })
    }

    /// Neighbouring products in pairs, unsigned `a` times signed `b`.
    pub fn mul_pairs_u8s8(&mut self, a: Value, b: Value) -> Value {
        let lanes = self.ty(a).lanes / 2;
        self.push(Type::new(Elem::I16, lanes), Op::MulPairsU8S8(a, b))
    }

    /// Neighbouring products in pairs.
    pub fn mul_pairs_s16(&mut self, a: Value, b: Value) -> Value {
        let lanes = self.ty(a).lanes / 2;
        self.push(Type::new(Elem::I32, lanes), Op::MulPairsS16(a, b))
    }

    /// `acc` plus four neighbouring products, unsigned `a` times signed `b`.
    pub fn dot4_u8s8(&mut self, acc: Value, a: Value, b: Value) -> Value {
        self.push(self.ty(acc), Op::Dot4U8S8 { acc, a, b })
    }

    /// `acc` plus four neighbouring products.
    pub fn dot4_s8s8(&mut self, acc: Value, a: Value, b: Value) -> Value {
        self.push(self.ty(acc), Op::Dot4S8S8 { acc, a, b })
    }

    /// Sums of groups of neighbouring lanes.
    pub fn fold(&mut self, lanes: u16, a: Value) -> Value {
        let ty = Type::new(self.ty(a).elem, lanes);
        self.push(ty, Op::Fold(a))
    }

    /// Maxima of groups of neighbouring lanes.
    pub fn fold_max(&mut self, lanes: u16, a: Value) -> Value {
        let ty = Type::new(self.ty(a).elem, lanes);
        self.push(ty, Op::FoldMax(a))
    }
}

fn wider(elem: Elem) -> Elem {
    match elem {
        Elem::I8 => Elem::I16,
        Elem::I16 => Elem::I32,
        Elem::I32 | Elem::I64 | Elem::F32 => Elem::I64,
    }
}
