//! A format as language text: the inverse of the checker.
//!
//! The text parses to an equal format, except that a layout whose addresses are not those that the compiler would choose
//! counts as placed by an author, as its text then says where the bits lie.

use super::{
    Assigned, BinOp, BlockFormat, Element, EncodeExpr, Field, FloatSpec, Format, FormatKind,
    Illegal, Overflow, Part, ReduceOp, Scope, Side, Specials, UnOp, ValueExpr,
};
use crate::syntax::format_source;
use std::collections::HashMap;
use std::fmt::Write;

/// The text that defines the format, as the formatter would print it (without a `language` line).
pub fn definition(format: &Format) -> String {
    let text = match &format.kind {
        FormatKind::Plain(e) => format!("format {} = {};\n", format.name, element(e)),
        FormatKind::Block(b) => block(&format.name, b),
    };
    // the formatter breaks long lists
    format_source(&format.name, &text).unwrap_or(text)
}

/// The subscript that a field is declared with, `[i / 16]`; empty for a field without one. `None` if no short formula
/// gives it.
pub(crate) fn subscript_text(f: &Field, row: Option<&str>, index: &str) -> Option<String> {
    let mut parts: Vec<String> = row.map(str::to_string).into_iter().collect();
    if f.element.width() > 1 {
        parts.push(digits(&f.occurrence, index)?);
        parts.push(digits(&f.component, index)?);
    } else if f.occurrence.iter().any(|o| *o != 0) {
        parts.push(digits(&f.occurrence, index)?);
    }
    Some(if parts.is_empty() {
        String::new()
    } else {
        format!("[{}]", parts.join(", "))
    })
}

fn element(e: &Element) -> String {
    match e {
        Element::Int { bits } => format!("int({bits})"),
        Element::UInt { bits } => format!("uint({bits})"),
        Element::Float(f) => float(f),
        Element::Codebook(c) => {
            let text = |(n, v): (usize, &f32)| match c.is_legal(n as u32 / c.width) {
                true => number(*v),
                false => "_".into(),
            };
            let entries: Vec<String> = c.entries.iter().enumerate().map(text).collect();
            let width = match c.width {
                1 => String::new(),
                width => format!("j < {width}: "),
            };
            let illegal = match c.illegal {
                Illegal::Worth(v) if v.to_bits() == 0 => String::new(),
                _ if !c.has_illegal() => String::new(),
                Illegal::Worth(v) if v.is_nan() => " else nan".into(),
                Illegal::Worth(v) => format!(" else {}", number(v)),
                Illegal::Refused => " else refuse".into(),
            };
            format!("codebook {width}[{}]{illegal}", entries.join(", "))
        }
    }
}

fn float(f: &FloatSpec) -> String {
    let mut out = format!("float({}, {}", f.exp, f.man);
    if f.bias != (1 << (f.exp - 1)) - 1 {
        let _ = write!(out, ", bias {}", f.bias);
    }
    out += match f.specials {
        Specials::Ieee => "",
        Specials::Finite => ", finite",
        Specials::NanOnly => ", nan",
        Specials::NanAtNegativeZero => ", fnuz",
    };
    out += match (f.overflow, f.specials) {
        (Overflow::Saturate, Specials::Ieee) => ", saturate",
        (Overflow::Special, Specials::NanOnly | Specials::NanAtNegativeZero) => ", overflow",
        _ => "",
    };
    out += if f.signed { "" } else { ", unsigned" };
    out += if f.subnormal { "" } else { ", no_subnormals" };
    out + ")"
}

/// The shortest text that reads back as the same f32.
fn number(v: f32) -> String {
    let plain = |v: f64, short: String| {
        let exponent = v != 0.0 && !(1e-5..1e9).contains(&v.abs());
        if exponent { format!("{v:e}") } else { short }
    };
    let short = plain(f64::from(v), format!("{v}"));
    match short.parse::<f64>() {
        Ok(back) if back as f32 == v => short,
        _ => format!("{:e}", f64::from(v)),
    }
}

fn block(name: &str, b: &BlockFormat) -> String {
    let locals = b.encode.iter().flat_map(|e| e.locals.values());
    let names: Vec<&str> = b
        .fields
        .values()
        .chain(b.kept.as_deref())
        .chain(locals)
        .map(|f| f.name.as_str())
        .collect();
    let taken = |n: &str| names.contains(&n);
    let fresh = |base: &str| {
        let numbered = (1..).map(|n| format!("{base}{n}"));
        std::iter::once(base.to_string())
            .chain(numbered)
            .find(|n| !taken(n))
            .unwrap_or_default()
    };
    let (r, i, x) = (fresh("r"), fresh("i"), fresh("x"));
    let row = (b.rows > 1).then_some(r.as_str());
    let by_compiler = compiler_places(b);
    let placed = b.placed_by_author || !by_compiler;
    let mut out = format!("format {name} = block ");
    if let Some(r) = row {
        let _ = write!(out, "{r} < {}, ", b.rows);
    }
    let _ = write!(out, "{i} < {}", b.len);
    if placed {
        let _ = write!(out, ", bytes {}", b.bytes);
    }
    let sides = [
        ("row", b.frame.row[0]),
        ("row after", b.frame.row[1]),
        ("tensor", b.frame.tensor[0]),
        ("tensor after", b.frame.tensor[1]),
    ];
    for (side, bytes) in sides.iter().filter(|(_, bytes)| *bytes > 0) {
        let _ = write!(out, ", {side} bytes {bytes}");
    }
    out += " {\n";
    let subscript = |f: &Field| {
        let row = row.filter(|_| !matches!(f.scope, Scope::Tensor(_)));
        let text = subscript_text(f, row, &i);
        text.unwrap_or_else(|| {
            let row = row.map(|r| format!("{r}, ")).unwrap_or_default();
            let component = match f.element.width() {
                1 => String::new(),
                _ => format!(", {}", steps(&f.component, &i)),
            };
            format!("[{row}{}{component}]", steps(&f.occurrence, &i))
        })
    };
    for f in b.fields.values().chain(b.kept.as_deref()) {
        let _ = write!(
            out,
            "    {}{}{}{}: {}{}",
            if b.kept.as_deref() == Some(f) {
                "kept "
            } else {
                ""
            },
            match f.scope {
                Scope::Block => "",
                Scope::Row(_) => "row ",
                Scope::Tensor(_) => "tensor ",
            },
            f.name,
            subscript(f),
            element(&f.element),
            match f.scope {
                Scope::Row(Side::After) | Scope::Tensor(Side::After) => " after",
                _ => "",
            }
        );
        if placed {
            let _ = write!(out, " at {}", places(b, f, row, &i));
        }
        out += ";\n";
    }
    let each = format!("[{}{i}]", row.map(|r| format!("{r}, ")).unwrap_or_default());
    let field = |f: super::FieldId| {
        let f = &b.fields[f];
        match f.per_element() && b.len > 1 {
            true => format!("{}{each}", f.name),
            false => format!("{}{}", f.name, subscript(f)),
        }
    };
    let _ = writeln!(out, "    value = {};", value(&b.value, &field));
    if let Some(clause) = &b.encode {
        let input = format!(
            "{x}[{}{i}]",
            row.map(|r| format!("{r}, ")).unwrap_or_default()
        );
        let _ = writeln!(out, "    encode {x} {{");
        let local = |l: super::LocalId| {
            let l = &clause.locals[l];
            format!("{}{}", l.name, subscript(l))
        };
        let names = EncodeNames {
            field: &field,
            local: &local,
            input: &input,
            index: &i,
        };
        for s in &clause.steps {
            let target = match s.target {
                Assigned::Field(f) => field(f),
                Assigned::Local(l) => format!("let {}", local(l)),
            };
            let _ = writeln!(out, "        {target} = {};", encode(&s.expr, &names));
        }
        out += "    }\n";
    }
    out + "}\n"
}

/// Whether the addresses are those that the compiler gives to fields without any.
fn compiler_places(b: &BlockFormat) -> bool {
    let mut ends: HashMap<Scope, u64> = HashMap::new();
    for f in b.fields.values().chain(b.kept.as_deref()) {
        let end = ends.entry(f.scope).or_default();
        let (start, bits) = (end.div_ceil(8) * 8, u64::from(f.element.bits()));
        let (step, slots) = match f.scope {
            Scope::Tensor(_) => (0, 1),
            Scope::Block | Scope::Row(_) => (bits, f.slots() as u64),
        };
        let in_order = f.whole().is_some_and(|whole| {
            let mut places = whole.iter().enumerate();
            places.all(|(o, a)| u64::from(*a) == start + step * o as u64)
        });
        if !in_order {
            return false;
        }
        *end = start + bits * slots;
    }
    let bytes = |scope| ends.get(&scope).map_or(0, |end| end.div_ceil(8));
    let mut frame = b.frame;
    let around = [Side::Before, Side::After].into_iter();
    let mut around = around.flat_map(|side| [Scope::Row(side), Scope::Tensor(side)]);
    u64::from(b.bytes) == bytes(Scope::Block)
        && around.all(|scope| {
            let used = bytes(scope);
            // Bytes that hold nothing are always written down.
            used == 0 || frame.bytes_mut(scope).is_none_or(|b| u64::from(*b) == used)
        })
}

/// Where the bits of a field lie.
fn places(b: &BlockFormat, f: &Field, row: Option<&str>, i: &str) -> String {
    if let [part] = f.parts.as_slice() {
        return address(b, f, part, row, i);
    }
    let piece = |p: &Part| format!("{}: {}", p.bits, address(b, f, p, row, i));
    let pieces: Vec<String> = f.parts.iter().map(piece).collect();
    format!("({})", pieces.join(", "))
}

/// The addresses of a part as a formula of the indices, or as a list.
fn address(b: &BlockFormat, f: &Field, part: &Part, row: Option<&str>, i: &str) -> String {
    let at = |r: u32, o: u32| {
        part.address
            .get((r * f.count + o) as usize)
            .copied()
            .unwrap_or(0)
    };
    let first = at(0, 0);
    let of_element: Vec<u32> = f.occurrence.iter().map(|o| at(0, *o)).collect();
    let of_row: Vec<u32> = (0..b.rows).map(|r| at(r, 0)).collect();
    let separable = (0..b.rows).all(|r| {
        (0..f.count).all(|o| {
            i64::from(at(r, o)) - i64::from(at(r, 0)) == i64::from(at(0, o)) - i64::from(first)
        })
    });
    let parts = || {
        let element = offset_digits(&of_element, i)?;
        let rows = match row {
            Some(r) => offset_digits(&of_row, r)?,
            None => Vec::new(),
        };
        let base = of_element.first().copied().unwrap_or(0);
        let mut terms: Vec<String> = if base == 0 {
            Vec::new()
        } else {
            vec![base.to_string()]
        };
        terms.extend(rows);
        terms.extend(element);
        Some(if terms.is_empty() {
            "0".to_string()
        } else {
            terms.join(" + ")
        })
    };
    match separable.then(parts).flatten() {
        Some(text) => text.replace("+ -", "- "),
        None => format!(
            "[{}]",
            part.address
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// A sequence as a sum of digits of its index: `i / 16`, `16 + 8 * (i % 16) + 4 * (i / 16)`.
fn digits(list: &[u32], i: &str) -> Option<String> {
    let mut terms = offset_digits(list, i)?;
    let base = list.first().copied().unwrap_or(0);
    if base != 0 {
        terms.insert(0, base.to_string());
    }
    Some(if terms.is_empty() {
        "0".to_string()
    } else {
        terms.join(" + ").replace("+ -", "- ")
    })
}

/// The terms that are added to the first entry; `None` if the sequence is no such sum.
fn offset_digits(list: &[u32], i: &str) -> Option<Vec<String>> {
    let (len, base) = (list.len(), i64::from(*list.first()?));
    let at = |n: usize| i64::from(list[n]) - base;
    let mut terms = Vec::new();
    let mut stride = 1;
    while stride < len {
        // the longest run of this digit that is linear, and divides what is left if anything follows
        let step = at(stride);
        let linear = (1..)
            .take_while(|m| m * stride < len && at(m * stride) == step * *m as i64)
            .last()
            .unwrap_or(1)
            + 1;
        let whole = linear * stride >= len;
        let high = if whole { len.div_ceil(stride) } else { linear };
        let digit = match (stride, whole) {
            (1, true) => i.to_string(),
            (1, false) => format!("{i} % {high}"),
            (_, true) => format!("{i} / {stride}"),
            (_, false) => format!("{i} / {stride} % {high}"),
        };
        match step {
            0 => {}
            1 => terms.push(digit),
            _ if stride == 1 && whole => terms.push(format!("{step} * {digit}")),
            _ => terms.push(format!("{step} * ({digit})")),
        }
        if terms.len() > 16 {
            return None;
        }
        stride *= high;
    }
    sums_to(list, i, &terms).then_some(terms)
}

/// Whether the terms, which this file wrote, give the sequence.
fn sums_to(list: &[u32], i: &str, terms: &[String]) -> bool {
    // a term is `[step * ] [(] i [/ a] [% b] [)]`
    let parse = |t: &String| {
        let (step, digit) = match t.split_once(" * ") {
            Some((s, d)) => (s.parse::<i64>().ok()?, d),
            None => (1, t.as_str()),
        };
        let digit = digit.trim_matches(['(', ')']).strip_prefix(i)?;
        let (divide, modulo) = digit
            .split_once(" % ")
            .map_or((digit, None), |(d, m)| (d, Some(m)));
        let divide = if divide.is_empty() {
            1
        } else {
            divide.strip_prefix(" / ")?.parse::<i64>().ok()?
        };
        let modulo = match modulo {
            Some(m) => m.parse::<i64>().ok()?,
            None => i64::MAX,
        };
        Some((step, divide, modulo))
    };
    let Some(parsed) = terms.iter().map(parse).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let base = i64::from(list.first().copied().unwrap_or(0));
    list.iter().enumerate().all(|(n, v)| {
        let n = n as i64;
        base + parsed.iter().map(|(s, d, m)| s * (n / d % m)).sum::<i64>() == i64::from(*v)
    })
}

/// Any sequence as a sum of steps: `(i + len - p) / len` is 1 from `p` on, and 0 before.
fn steps(list: &[u32], i: &str) -> String {
    let len = list.len() as i64;
    let mut terms = vec![list.first().copied().unwrap_or(0).to_string()];
    for (p, pair) in list.windows(2).enumerate() {
        let step = i64::from(pair[1]) - i64::from(pair[0]);
        if step != 0 {
            terms.push(format!(
                "({step}) * (({i} + {}) / {len})",
                len - p as i64 - 1
            ));
        }
    }
    // a balanced sum is not deep
    while terms.len() > 1 {
        terms = terms
            .chunks(2)
            .map(|c| {
                if c.len() == 2 {
                    format!("({} + {})", c[0], c[1])
                } else {
                    c[0].clone()
                }
            })
            .collect();
    }
    terms.concat()
}

fn unary(op: UnOp, a: &str) -> String {
    match op {
        UnOp::Neg => format!("-({a})"),
        UnOp::Abs => format!("abs({a})"),
        UnOp::Round => format!("round({a})"),
        UnOp::RoundAway => format!("round_away({a})"),
        UnOp::Trunc => format!("trunc({a})"),
        UnOp::Floor => format!("floor({a})"),
        UnOp::FloorPow2 => format!("floor_pow2({a})"),
    }
}

/// More parentheses than needed: the formatter takes them out.
fn binary(op: BinOp, a: &str, b: &str) -> String {
    match op {
        BinOp::Add => format!("(({a}) + ({b}))"),
        BinOp::Sub => format!("(({a}) - ({b}))"),
        BinOp::Mul => format!("(({a}) * ({b}))"),
        BinOp::Div => format!("(({a}) / ({b}))"),
        BinOp::Min => format!("min({a}, {b})"),
        BinOp::Max => format!("max({a}, {b})"),
    }
}

fn value(e: &ValueExpr, field: &impl Fn(super::FieldId) -> String) -> String {
    match e {
        ValueExpr::Const(c) => number(*c),
        ValueExpr::Field(f) => field(*f),
        ValueExpr::Unary(op, a) => unary(*op, &value(a, field)),
        ValueExpr::Binary(op, a, b) => binary(*op, &value(a, field), &value(b, field)),
    }
}

/// How an `encode` clause writes what it reads.
struct EncodeNames<'a> {
    field: &'a dyn Fn(super::FieldId) -> String,
    local: &'a dyn Fn(super::LocalId) -> String,
    input: &'a str,
    index: &'a str,
}

fn encode(e: &EncodeExpr, names: &EncodeNames<'_>) -> String {
    let of = |e: &EncodeExpr| encode(e, names);
    let i = names.index;
    match e {
        EncodeExpr::Const(c) => number(*c),
        EncodeExpr::Input => names.input.to_string(),
        EncodeExpr::Field(f) => (names.field)(*f),
        EncodeExpr::Local(l) => (names.local)(*l),
        EncodeExpr::Unary(op, a) => unary(*op, &of(a)),
        EncodeExpr::Binary(op, a, b) => binary(*op, &of(a), &of(b)),
        EncodeExpr::Reduce(op, a) => {
            let name = match op {
                ReduceOp::Sum => "sum",
                ReduceOp::Min => "min",
                ReduceOp::Max => "max",
            };
            format!("({name}({i}) ({}))", of(a))
        }
        EncodeExpr::ArgAbsMax(a) => format!("(absmax_signed({i}) ({}))", of(a)),
    }
}
