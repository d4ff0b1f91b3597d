//! Reads the text of a function: what `print.rs` writes. Any text is safe to read; what is wrong is an error with its line.
//! Typing rules are the verifier's.

use super::ir::{
    Bin, Carried, Cmp, Convert, Elem, Function, Loop, Op, Param, ParamId, ParamKind, Scalar, Shift,
    Step, Table, TableId, Type, Un, Value,
};
use super::read_line::Line;
use cranelift_entity::PrimaryMap;
use std::collections::BTreeMap;
use thiserror::Error;

/// A text that is no function.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {message}")]
pub struct ReadError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Deepest nest of loops.
const DEEPEST: usize = 64;

/// Reads a function.
pub fn read(text: &str) -> Result<Function, ReadError> {
    let mut reader = Reader {
        types: BTreeMap::new(),
        undefined: Vec::new(),
    };
    let mut lines = Vec::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        lines.push(Line::new(at + 1, line)?);
    }
    let mut lines = lines.into_iter().peekable();
    let last = text.lines().count();
    let end = || ReadError {
        line: last,
        message: "the text ends too early".to_owned(),
    };
    let mut first = lines.next().ok_or_else(end)?;
    first.word("func")?;
    let name = first.name()?;
    first.sign('{')?;
    first.end()?;
    let mut function = Function {
        name,
        params: PrimaryMap::new(),
        tables: PrimaryMap::new(),
        types: PrimaryMap::new(),
        body: Vec::new(),
    };
    while let Some(mut line) = lines.next_if(|l| l.starts("param")) {
        let next = ParamId::from_u32(function.params.len() as u32);
        line.word("param")?;
        line.word(&next.to_string())?;
        let name = line.name()?;
        line.sign(':')?;
        let kind = param_kind(&mut line)?;
        line.end()?;
        function.params.push(Param { name, kind });
    }
    while let Some(mut line) = lines.next_if(|l| l.starts("table")) {
        let next = TableId::from_u32(function.tables.len() as u32);
        line.word("table")?;
        line.word(&next.to_string())?;
        let name = line.name()?;
        line.sign(':')?;
        let mut bytes = Vec::new();
        while !line.is_empty() {
            bytes.extend(line.hex()?);
        }
        function.tables.push(Table { name, bytes });
    }
    while let Some(mut line) = lines.next_if(|l| l.starts("undefined")) {
        line.word("undefined")?;
        let (value, ty) = reader.definition(&mut line)?;
        line.end()?;
        reader.undefined.push((value, ty));
    }
    // Regions that are open: steps, and the loop that they belong to.
    let mut open: Vec<(Vec<Step>, Option<Loop>)> = vec![(Vec::new(), None)];
    for mut line in lines.by_ref() {
        if line.starts("}") {
            line.sign('}')?;
            line.end()?;
            let Some((body, owner)) = open.pop() else {
                break;
            };
            match (owner, open.last_mut()) {
                (Some(owner), Some((steps, _))) => {
                    steps.push(Step::Loop(Box::new(Loop { body, ..owner })))
                }
                _ => {
                    function.body = body;
                    break;
                }
            }
        } else if line.starts("loop") {
            if open.len() > DEEPEST {
                return Err(line.error(format!("loops are nested deeper than {DEEPEST}")));
            }
            let owner = reader.loop_head(&mut line)?;
            line.end()?;
            open.push((Vec::new(), Some(owner)));
        } else if line.starts("carry") {
            let carried = reader.carry(&mut line)?;
            line.end()?;
            match open.last_mut() {
                Some((steps, Some(owner))) if steps.is_empty() => owner.carried.push(carried),
                _ => return Err(line.error("`carry` stands first in a loop".to_owned())),
            }
        } else {
            let step = reader.step(&mut line)?;
            line.end()?;
            if let Some((steps, _)) = open.last_mut() {
                steps.push(step);
            }
        }
    }
    if let Some(line) = lines.next() {
        return Err(line.error("text after the function".to_owned()));
    }
    if !open.is_empty() {
        return Err(end());
    }
    function.types = reader.finish()?;
    Ok(function)
}

fn param_kind(line: &mut Line) -> Result<ParamKind, ReadError> {
    let word = line.any_word()?;
    match word.as_str() {
        "read" => Ok(ParamKind::Read),
        "write" => Ok(ParamKind::Write),
        "scratch" => Ok(ParamKind::Scratch {
            bytes: scalar(line, 0)?,
        }),
        "scalar" => Ok(ParamKind::Scalar(scalar(line, 0)?)),
        "range_start" => Ok(ParamKind::RangeStart),
        "range_end" => Ok(ParamKind::RangeEnd),
        _ => Err(line.error(format!("`{word}` is no kind of parameter"))),
    }
}

fn scalar(line: &mut Line, depth: usize) -> Result<Scalar, ReadError> {
    if depth > 200 {
        return Err(line.error("the scalar is nested too deep".to_owned()));
    }
    let word = line.any_word()?;
    if let Ok(number) = word.parse() {
        return Ok(Scalar::Const(number));
    }
    if let Some(dim) = word.strip_prefix('d').and_then(|d| d.parse().ok()) {
        return Ok(Scalar::Dim(dim));
    }
    let make = match word.as_str() {
        "add" => Scalar::Add,
        "sub" => Scalar::Sub,
        "mul" => Scalar::Mul,
        "div" => Scalar::Div,
        "div_ceil" => Scalar::DivCeil,
        "rem" => Scalar::Rem,
        "min" => Scalar::Min,
        _ => return Err(line.error(format!("`{word}` is no scalar"))),
    };
    line.sign('(')?;
    let a = scalar(line, depth + 1)?;
    line.sign(',')?;
    let b = scalar(line, depth + 1)?;
    line.sign(')')?;
    Ok(make(Box::new(a), Box::new(b)))
}

struct Reader {
    types: BTreeMap<u32, (Type, usize)>,
    undefined: Vec<(Value, Type)>,
}

impl Reader {
    /// `v1: i8x16`.
    fn definition(&mut self, line: &mut Line) -> Result<(Value, Type), ReadError> {
        let value = line.value()?;
        line.sign(':')?;
        let ty = line.ty()?;
        self.typed(line, value, ty)?;
        Ok((value, ty))
    }

    fn typed(&mut self, line: &Line, value: Value, ty: Type) -> Result<(), ReadError> {
        match self.types.insert(value.as_u32(), (ty, line.number)) {
            None => Ok(()),
            Some(_) => Err(line.error(format!("{value} is defined twice"))),
        }
    }

    /// Types of all values, which are numbered without gaps.
    fn finish(self) -> Result<PrimaryMap<Value, Type>, ReadError> {
        let mut types = PrimaryMap::new();
        for (number, (ty, line)) in self.types {
            if number as usize != types.len() {
                let message = format!("v{number} is defined, but v{} is not", types.len());
                return Err(ReadError { line, message });
            }
            types.push(ty);
        }
        Ok(types)
    }

    fn loop_head(&mut self, line: &mut Line) -> Result<Loop, ReadError> {
        line.word("loop")?;
        let name = line.name()?;
        line.sign(':')?;
        let counter = line.value()?;
        self.typed(line, counter, Type::new(Elem::I64, 1))?;
        line.sign('=')?;
        let from = line.value()?;
        line.word("to")?;
        let to = line.value()?;
        line.word("step")?;
        let step = line.number_of()?;
        line.sign('{')?;
        Ok(Loop {
            name,
            counter,
            from,
            to,
            step,
            carried: Vec::new(),
            body: Vec::new(),
        })
    }

    fn carry(&mut self, line: &mut Line) -> Result<Carried, ReadError> {
        line.word("carry")?;
        let (inside, ty) = self.definition(line)?;
        line.sign('=')?;
        let init = line.value()?;
        line.word("next")?;
        let next = line.value()?;
        line.word("result")?;
        let result = line.value()?;
        self.typed(line, result, ty)?;
        Ok(Carried {
            inside,
            init,
            next,
            result,
        })
    }

    fn step(&mut self, line: &mut Line) -> Result<Step, ReadError> {
        if line.starts("store") {
            line.word("store")?;
            let value = line.value()?;
            line.sign(',')?;
            let base = line.value()?;
            let offset = line.displacement()?;
            return Ok(Step::Store {
                value,
                base,
                offset,
            });
        }
        let (value, ty) = self.definition(line)?;
        line.sign('=')?;
        let op = operation(line, ty)?;
        Ok(Step::Let(value, op))
    }
}

fn operation(line: &mut Line, ty: Type) -> Result<Op, ReadError> {
    let name = line.any_word()?;
    if let Some(bin) = Bin::ALL.into_iter().find(|b| b.name() == name) {
        let [a, b] = line.values()?;
        return Ok(Op::Bin(bin, a, b));
    }
    if let Some(un) = Un::ALL.into_iter().find(|u| u.name() == name) {
        return Ok(Op::Un(un, line.value()?));
    }
    if let Some(shift) = Shift::ALL.into_iter().find(|s| s.name() == name) {
        let value = line.value()?;
        line.sign(',')?;
        return Ok(Op::Shift(shift, value, line.number_of()?));
    }
    if let Some(shift) = Shift::ALL.into_iter().find(|s| s.name_by() == name) {
        let [a, b] = line.values()?;
        return Ok(Op::ShiftBy(shift, a, b));
    }
    if let Some(convert) = Convert::ALL.into_iter().find(|c| c.name() == name) {
        return Ok(Op::Convert(convert, line.value()?));
    }
    if let Some(cmp) = Cmp::ALL.into_iter().find(|c| c.name() == name) {
        let [a, b] = line.values()?;
        return Ok(Op::Cmp(cmp, a, b));
    }
    match name.as_str() {
        "iconst" => Ok(Op::IConst(line.number_of()?)),
        "fconst" => Ok(Op::FConst(line.float()?)),
        "vconst" => {
            let mut lanes = vec![line.lane(ty.elem)?];
            while line.try_sign(',') {
                lanes.push(line.lane(ty.elem)?);
            }
            Ok(Op::VConst(lanes))
        }
        "param" => Ok(Op::Param(ParamId::from_u32(line.id('p')?))),
        "table" => Ok(Op::TableAddr(TableId::from_u32(line.id('c')?))),
        "load" => {
            let base = line.value()?;
            Ok(Op::Load {
                base,
                offset: line.displacement()?,
            })
        }
        "mul_add" => line.values().map(|[a, b, c]| Op::MulAdd(a, b, c)),
        "select" => line.values().map(|[mask, a, b]| Op::Select(mask, a, b)),
        "bitcast" => line.value().map(Op::Bitcast),
        "splat" => line.value().map(Op::Splat),
        "tile" => line.value().map(Op::Tile),
        "repeat" => line.value().map(Op::Repeat),
        "build" => {
            let mut values = vec![line.value()?];
            while line.try_sign(',') {
                values.push(line.value()?);
            }
            Ok(Op::Build(values))
        }
        "udiv" => {
            let value = line.value()?;
            line.sign(',')?;
            Ok(Op::UDiv(value, line.number_of()?))
        }
        "extract" | "slice" => {
            let value = line.value()?;
            line.sign(',')?;
            let lane = line.number_of()?;
            Ok(if name == "extract" {
                Op::Extract(value, lane)
            } else {
                Op::Slice(value, lane)
            })
        }
        "join" => line.values().map(|[lo, hi]| Op::Join { lo, hi }),
        "lookup" => line
            .values()
            .map(|[table, index]| Op::Lookup { table, index }),
        "mul_pairs_u8s8" => line.values().map(|[a, b]| Op::MulPairsU8S8(a, b)),
        "mul_pairs_s16" => line.values().map(|[a, b]| Op::MulPairsS16(a, b)),
        "dot4_u8s8" => line.values().map(|[acc, a, b]| Op::Dot4U8S8 { acc, a, b }),
        "dot4_s8s8" => line.values().map(|[acc, a, b]| Op::Dot4S8S8 { acc, a, b }),
        "fold" => line.value().map(Op::Fold),
        "fold_max" => line.value().map(Op::FoldMax),
        _ => Err(line.error(format!("`{name}` is no operation"))),
    }
}
