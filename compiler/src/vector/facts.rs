//! Facts of operations that printer, reader, verifier and interpreter share: names and operands.

use super::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Un, Value};

impl Elem {
    /// All element types.
    pub const ALL: [Elem; 5] = [Elem::I8, Elem::I16, Elem::I32, Elem::I64, Elem::F32];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Elem::I8 => "i8",
            Elem::I16 => "i16",
            Elem::I32 => "i32",
            Elem::I64 => "i64",
            Elem::F32 => "f32",
        }
    }

    /// Whether it is an integer.
    pub fn is_int(self) -> bool {
        match self {
            Elem::I8 | Elem::I16 | Elem::I32 | Elem::I64 => true,
            Elem::F32 => false,
        }
    }
}

impl Bin {
    /// All binary operations.
    pub const ALL: [Bin; 15] = [
        Bin::IAdd,
        Bin::ISub,
        Bin::IMul,
        Bin::And,
        Bin::Or,
        Bin::Xor,
        Bin::SMin,
        Bin::SMax,
        Bin::MulHigh,
        Bin::FAdd,
        Bin::FSub,
        Bin::FMul,
        Bin::FDiv,
        Bin::FMin,
        Bin::FMax,
    ];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Bin::IAdd => "iadd",
            Bin::ISub => "isub",
            Bin::IMul => "imul",
            Bin::And => "and",
            Bin::Or => "or",
            Bin::Xor => "xor",
            Bin::SMin => "smin",
            Bin::SMax => "smax",
            Bin::MulHigh => "mulhigh",
            Bin::FAdd => "fadd",
            Bin::FSub => "fsub",
            Bin::FMul => "fmul",
            Bin::FDiv => "fdiv",
            Bin::FMin => "fmin",
            Bin::FMax => "fmax",
        }
    }

    /// Whether it works on lanes of a type.
    pub fn takes(self, elem: Elem) -> bool {
        match self {
            Bin::IAdd | Bin::ISub | Bin::And | Bin::Or | Bin::Xor | Bin::SMin | Bin::SMax => {
                elem.is_int()
            }
            Bin::IMul => elem.is_int() && elem != Elem::I8,
            Bin::MulHigh => elem == Elem::I16,
            Bin::FAdd | Bin::FSub | Bin::FMul | Bin::FDiv | Bin::FMin | Bin::FMax => {
                elem == Elem::F32
            }
        }
    }
}

impl Un {
    /// All unary operations.
    pub const ALL: [Un; 6] = [
        Un::FNeg,
        Un::FAbs,
        Un::FSqrt,
        Un::FRound,
        Un::FFloor,
        Un::CountOnes,
    ];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Un::FNeg => "fneg",
            Un::FAbs => "fabs",
            Un::FSqrt => "fsqrt",
            Un::FRound => "fround",
            Un::FFloor => "ffloor",
            Un::CountOnes => "count-ones",
        }
    }

    /// The lanes that it works on.
    pub fn elem(self) -> Elem {
        match self {
            Un::FNeg | Un::FAbs | Un::FSqrt | Un::FRound | Un::FFloor => Elem::F32,
            Un::CountOnes => Elem::I8,
        }
    }
}

impl Shift {
    /// All shifts.
    pub const ALL: [Shift; 3] = [Shift::Shl, Shift::UShr, Shift::SShr];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Shift::Shl => "shl",
            Shift::UShr => "ushr",
            Shift::SShr => "sshr",
        }
    }

    /// Its spelling with a variable amount.
    pub fn name_by(self) -> &'static str {
        match self {
            Shift::Shl => "shl_by",
            Shift::UShr => "ushr_by",
            Shift::SShr => "sshr_by",
        }
    }
}

impl Convert {
    /// All conversions.
    pub const ALL: [Convert; 5] = [
        Convert::WidenS,
        Convert::WidenU,
        Convert::Narrow,
        Convert::IntToFloat,
        Convert::FloatToInt,
    ];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Convert::WidenS => "widen_s",
            Convert::WidenU => "widen_u",
            Convert::Narrow => "narrow",
            Convert::IntToFloat => "int_to_float",
            Convert::FloatToInt => "float_to_int",
        }
    }
}

impl Cmp {
    /// All comparisons.
    pub const ALL: [Cmp; 5] = [Cmp::IEq, Cmp::SLt, Cmp::FLt, Cmp::FLe, Cmp::FEq];

    /// Its spelling.
    pub fn name(self) -> &'static str {
        match self {
            Cmp::IEq => "ieq",
            Cmp::SLt => "slt",
            Cmp::FLt => "flt",
            Cmp::FLe => "fle",
            Cmp::FEq => "feq",
        }
    }

    /// Whether it compares integers.
    pub fn is_int(self) -> bool {
        match self {
            Cmp::IEq | Cmp::SLt => true,
            Cmp::FLt | Cmp::FLe | Cmp::FEq => false,
        }
    }
}

impl Op {
    /// Whether it is a constant, which code makes where it uses it.
    pub fn is_constant(&self) -> bool {
        matches!(self, Op::IConst(_) | Op::FConst(_) | Op::VConst(_))
    }

    /// Its spelling.
    pub fn name(&self) -> &'static str {
        match self {
            Op::IConst(_) => "iconst",
            Op::FConst(_) => "fconst",
            Op::VConst(_) => "vconst",
            Op::Param(_) => "param",
            Op::TableAddr(_) => "table",
            Op::Load { .. } => "load",
            Op::Bin(bin, ..) => bin.name(),
            Op::Un(un, _) => un.name(),
            Op::Shift(shift, ..) => shift.name(),
            Op::ShiftBy(shift, ..) => shift.name_by(),
            Op::UDiv(..) => "udiv",
            Op::MulAdd(..) => "mul_add",
            Op::Cmp(cmp, ..) => cmp.name(),
            Op::Select(..) => "select",
            Op::Convert(convert, _) => convert.name(),
            Op::Bitcast(_) => "bitcast",
            Op::Splat(_) => "splat",
            Op::Tile(_) => "tile",
            Op::Repeat(_) => "repeat",
            Op::Build(_) => "build",
            Op::Extract(..) => "extract",
            Op::Slice(..) => "slice",
            Op::Join { .. } => "join",
            Op::Lookup { .. } => "lookup",
            Op::MulPairsU8S8(..) => "mul_pairs_u8s8",
            Op::MulPairsS16(..) => "mul_pairs_s16",
            Op::Dot4U8S8 { .. } => "dot4_u8s8",
            Op::Dot4S8S8 { .. } => "dot4_s8s8",
            Op::Fold(_) => "fold",
            Op::FoldMax(_) => "fold_max",
        }
    }

    /// Its operands, in the order in which they are printed.
    pub fn operands(&self) -> Vec<Value> {
        match self {
            Op::IConst(_) | Op::FConst(_) | Op::VConst(_) | Op::Param(_) | Op::TableAddr(_) => {
                Vec::new()
            }
            Op::Load { base: a, .. }
            | Op::Un(_, a)
            | Op::Shift(_, a, _)
            | Op::UDiv(a, _)
            | Op::Convert(_, a)
            | Op::Bitcast(a)
            | Op::Splat(a)
            | Op::Tile(a)
            | Op::Repeat(a)
            | Op::Extract(a, _)
            | Op::Slice(a, _)
            | Op::Fold(a)
            | Op::FoldMax(a) => vec![*a],
            Op::Bin(_, a, b)
            | Op::ShiftBy(_, a, b)
            | Op::Cmp(_, a, b)
            | Op::Join { lo: a, hi: b }
            | Op::Lookup { table: a, index: b }
            | Op::MulPairsU8S8(a, b)
            | Op::MulPairsS16(a, b) => vec![*a, *b],
            Op::MulAdd(a, b, c)
            | Op::Select(a, b, c)
            | Op::Dot4U8S8 { acc: a, a: b, b: c }
            | Op::Dot4S8S8 { acc: a, a: b, b: c } => vec![*a, *b, *c],
            Op::Build(values) => values.clone(),
        }
    }
}
