//! Random formats as text: elements of every kind, blocks of any length, bits anywhere, values in many spellings.

use crate::property::program::Maker;

/// A field of a block that is being written.
struct Field {
    name: &'static str,
    /// `[i]`, `[i / 8]` or nothing.
    subscript: String,
    element: String,
    bits: u64,
    count: u64,
    /// Whether its bits may lie across bytes: scales of random bits need their sign and exponent in place.
    anywhere: bool,
}

/// What a block is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is only read.
    Read,
    /// Values are quantised into it.
    Quantize,
    /// It is decoded by its declared arithmetic.
    Strict,
}

/// The text of an element and its width.
pub(crate) fn element(m: &mut Maker, most: u64) -> (String, u64) {
    match m.below(5) {
        0 => {
            m.tag("element", "int");
            let bits = m.between(2, most);
            (format!("int({bits})"), bits)
        }
        1 => {
            m.tag("element", "uint");
            let bits = m.between(1, most);
            (format!("uint({bits})"), bits)
        }
        2 => float(m, most),
        3 => by_formula(m, most),
        _ => codebook(m, most),
    }
}

/// Tables that are not listed.
fn by_formula(m: &mut Maker, most: u64) -> (String, u64) {
    let bits = m.between(2, most.min(6));
    let codes = 1u64 << bits;
    match m.below(3) {
        0 => {
            m.tag("element", "sign and magnitude");
            (format!("signmag({bits})"), bits)
        }
        1 => {
            m.tag("element", "offset binary");
            (format!("offset({bits})"), bits)
        }
        _ => {
            m.tag("element", "codebook by a formula");
            let text = m.pick(&[
                "c * c - 3",
                "pow(2, c % 5) - c",
                "select(c < 2, c, 3 - c)",
                "min(c, 5) * max(c - 3, 1) - abs(c - 4)",
                "STEPS[c % 4]",
            ]);
            if text.contains("STEPS") && !m.formats.iter().any(|f| f.contains("const STEPS")) {
                m.formats.push("const STEPS = [-7, -1, 2, 9];\n".into());
            }
            (format!("codebook c < {codes}: {text}"), bits)
        }
    }
}

/// A code for several elements: its text, its width in bits, and to how many elements it gives values.
fn vector(m: &mut Maker) -> (String, u64, u64) {
    match m.below(3) {
        0 => {
            m.tag("element", "digits");
            let (radix, count, bits) =
                m.pick(&[(3, 5, 8), (3, 2, 4), (5, 3, 8), (6, 2, 6), (2, 4, 4)]);
            let text = format!("digit({radix}) packed {count} per {bits}");
            let written = u64::pow(radix, count as u32);
            (text + illegal(m, written, bits), bits, count)
        }
        1 => {
            m.tag("element", "values of a code by a formula");
            let codes = m.pick(&[32, 32, 19]);
            let text = format!("codebook c < {codes}, j < 4: (c + 3) * (2 * j + 1) % 7 - 3");
            (text + illegal(m, codes, 5), 5, 4)
        }
        _ => {
            m.tag("element", "values of a code");
            let width = m.between(2, 8);
            let codes = m.pick(&[3, 8, 16]);
            let mut values: Vec<String> = (0..width * codes)
                .map(|_| format!("{}", m.between(0, 12) as f64 / 2.0 - 3.0))
                .collect();
            let bits = u64::from((codes - 1).ilog2()) + 1;
            let legal = codes - holes(m, &mut values, width as usize);
            let text = format!("codebook j < {width}: [{}]", values.join(", "));
            (text + illegal(m, legal, bits), bits, width)
        }
    }
}

fn float(m: &mut Maker, most: u64) -> (String, u64) {
    let exp = m.between(1, 5.min(most - 1));
    let man = m.between(0, (most - 1 - exp).min(4));
    let specials = if exp >= 2 {
        m.pick(&["ieee", "finite", "nan", "fnuz"])
    } else {
        "finite"
    };
    m.tag("element", &format!("float {specials}"));
    let unsigned = specials != "fnuz" && m.once_in(5);
    let mut text = format!("float({exp}, {man}, {specials}");
    if unsigned {
        m.tag("element", "float unsigned");
        text += ", unsigned";
    }
    if m.once_in(5) {
        m.tag("element", "float without subnormals");
        text += ", no_subnormals";
    }
    if specials != "finite" && m.once_in(3) {
        m.tag("element", "float with a policy of overflow");
        text += m.pick(&[", saturate", ", overflow"]);
    }
    if m.once_in(4) {
        m.tag("element", "float with a bias");
        text += &format!(", bias {}", m.between(0, 9));
    }
    (text + ")", exp + man + u64::from(!unsigned))
}

fn codebook(m: &mut Maker, most: u64) -> (String, u64) {
    m.tag("element", "codebook");
    let count = match m.below(6) {
        0 => 2,
        1 => 3,
        2 if most >= 8 => m.between(17, 256),
        _ if most >= 4 => m.between(4, 16),
        _ => m.between(2, 1 << most),
    };
    let kind = m.below(3);
    let mut entries: Vec<String> = (0..count)
        .map(|_| {
            let n = m.between(0, 40) as f64 - 20.0;
            match kind {
                0 => format!("{n}"),
                1 => format!("{}", n / 4.0),
                _ => format!("{}", n * 0.037 + 0.001),
            }
        })
        .collect();
    let bits = u64::from((count - 1).max(1).ilog2()) + 1;
    let legal = count - holes(m, &mut entries, 1);
    let text = format!("codebook [{}]", entries.join(", "));
    (text + illegal(m, legal, bits), bits)
}

/// Takes the values of a code away, if there are others left; how many codes lost theirs.
fn holes(m: &mut Maker, values: &mut [String], width: usize) -> u64 {
    let codes = (values.len() / width) as u64;
    if codes < 4 || !m.once_in(5) {
        return 0;
    }
    m.tag("element", "codes without values among others");
    let at = m.below(codes) as usize * width;
    values[at..at + width].fill("_".into());
    1
}

/// What the codes are that are left of a width, if any are.
fn illegal(m: &mut Maker, legal: u64, bits: u64) -> &'static str {
    if legal == 1 << bits || m.once_in(4) {
        return "";
    }
    m.tag("element", "what illegal codes are");
    m.pick(&[
        " else 0",
        " else -1",
        " else 2.5",
        " else 40",
        " else nan",
        " else refuse",
        " else refuse",
    ])
}

fn scale(m: &mut Maker) -> (&'static str, u64) {
    m.pick(&[
        ("f16", 16),
        ("f16", 16),
        ("f32", 32),
        ("bf16", 16),
        ("float(4, 3, nan)", 8),
    ])
}

/// Defines a block format with the name given.
pub(crate) fn block(m: &mut Maker, name: &str, need: Need) {
    let len: u64 = m.pick(&[
        1, 2, 3, 5, 7, 8, 13, 16, 16, 20, 24, 32, 32, 32, 32, 48, 64, 64, 128, 256,
    ]);
    m.tag("block", if len % 2 == 1 { "odd" } else { "even" });
    let most = if m.once_in(4) { 12 } else { 6 };
    let code = match len > 8 && m.once_in(5) {
        true => {
            let (element, bits, width) = vector(m);
            Field {
                name: "q",
                subscript: format!("[i / {width}, i % {width}]"),
                element,
                bits,
                count: len.div_ceil(width),
                anywhere: true,
            }
        }
        false => {
            let (element, bits) = element(m, most);
            Field {
                name: "q",
                subscript: "[i]".into(),
                element,
                bits,
                count: len,
                anywhere: true,
            }
        }
    };
    let mut fields = vec![code];
    let form = match need {
        Need::Read => m.below(9),
        Need::Quantize => m.below(3),
        Need::Strict => m.between(7, 9),
    };
    let (value, encode) = value(m, form, len, &mut fields);
    let placed = m.once_in(2);
    m.tag("addresses", if placed { "given" } else { "chosen" });
    let shared = match encode.is_empty() {
        true => shared(m, &fields),
        false => vec![None; fields.len()],
    };
    let mut at = placed.then(|| addresses(m, &fields));
    if let Some((at, _)) = &mut at {
        apart(m, &fields, &shared, at);
    }
    let kept = need != Need::Quantize && m.once_in(12) && keeps(m, &shared);
    let order = m.order(fields.len());
    let sized = at.as_ref().filter(|_| m.once_in(3));
    let size = sized.map_or(String::new(), |(_, bits)| {
        m.tag("block", "of a given size");
        format!(", bytes {}", bits.div_ceil(8) + m.below(3))
    });
    let mut text = format!("format {name} = block i < {len}{size}");
    for side in ["row", "row after", "tensor", "tensor after"] {
        // bytes that hold nothing
        let used = shared.contains(&Some(side)) || kept && side == "row";
        if !used && m.once_in(16) {
            m.tag("block", "with bytes around it");
            text += &format!(", {side} bytes {}", m.between(1, 5));
        }
    }
    text += " {\n";
    for f in order {
        let field = &fields[f];
        let (scope, after) = match shared[f] {
            None => ("", ""),
            Some("row") => ("row ", ""),
            Some("row after") => ("row ", " after"),
            Some("tensor") => ("tensor ", ""),
            Some(_) => ("tensor ", " after"),
        };
        text += &format!(
            "    {scope}{}{}: {}{after}",
            field.name, field.subscript, field.element
        );
        if let Some((at, _)) = &at {
            text += &format!(" at {}", at[f]);
        }
        text += ";\n";
    }
    if kept {
        let address = if at.is_some() { " at 0" } else { "" };
        text += &format!("    kept row sums: f32{address};\n");
    }
    text += &format!("    value = {value};\n{encode}}}\n");
    m.formats.push(text);
}

/// Whether a format may keep the sums of its rows before them: nothing else may lie there.
fn keeps(m: &mut Maker, shared: &[Option<&str>]) -> bool {
    let free = !shared.contains(&Some("row"));
    if free {
        m.tag("field of", "sums of rows");
    }
    free
}

/// The fields that a row or the tensor has once, with the side on which they lie.
fn shared(m: &mut Maker, fields: &[Field]) -> Vec<Option<&'static str>> {
    let mut side = |field: &Field| {
        let once = field.subscript.is_empty() && !field.element.contains("refuse");
        let sides = ["row", "row", "row after", "tensor", "tensor after"];
        let side = (once && m.once_in(4)).then(|| m.pick(&sides))?;
        m.tag("field of", side);
        Some(side)
    };
    fields.iter().map(&mut side).collect()
}

/// Gives those fields addresses of their own, one after the other.
fn apart(m: &mut Maker, fields: &[Field], shared: &[Option<&str>], at: &mut [String]) {
    for side in ["row", "row after", "tensor", "tensor after"] {
        let mut next = 0;
        for (n, field) in fields.iter().enumerate() {
            if shared[n] == Some(side) {
                next += 8 * m.below(2);
                at[n] = next.to_string();
                next += field.bits.next_multiple_of(8);
            }
        }
    }
}

fn one(name: &'static str, element: (&str, u64)) -> Field {
    Field {
        name,
        subscript: String::new(),
        element: element.0.into(),
        bits: element.1,
        count: 1,
        anywhere: element.1 == 8,
    }
}

/// The value of an element, and an `encode` clause where none is derived.
fn value(m: &mut Maker, form: u64, len: u64, fields: &mut Vec<Field>) -> (String, String) {
    let group = m.pick(&[1, 2, 4, 8, 8, 16, 3]).min(len);
    let groups = len.div_ceil(group);
    let sub = format!("[i / {group}]");
    let parts = |name: &'static str, element: (&str, u64)| Field {
        subscript: format!("[i / {group}]"),
        count: groups,
        ..one(name, element)
    };
    let q = "q[i]".to_owned();
    let zero = m.between(1, 9);
    let names = [
        "s * q",
        "s * q spelled otherwise",
        "s * (q - c)",
        "d * q + m",
        "scales of parts",
        "two levels",
        "q alone",
        "s * (q - z)",
        "a function of q",
        "arithmetic in f32",
    ];
    m.tag("value", names[form as usize]);
    match form {
        0 => {
            fields.push(one("s", scale(m)));
            (m.product(&["s".into(), q]), String::new())
        }
        1 => {
            fields.push(one("s", scale(m)));
            let spelled = m.pick(&[
                "-s * q[i]",
                "s * (q[i] / 4)",
                "2 * s * q[i] / 2",
                "s * q[i] + q[i] * s",
                "3 * q[i] * s - s * q[i]",
                "s / 8 * q[i]",
            ]);
            (spelled.into(), String::new())
        }
        2 => {
            fields.push(one("s", scale(m)));
            let spelled = m.pick(&[
                "s * (q[i] - Z)",
                "s * q[i] - Z * s",
                "(q[i] - Z) * s",
                "-(Z - q[i]) * s",
                "s * (q[i] + Z)",
                "q[i] * s - s * Z",
            ]);
            (spelled.replace('Z', &zero.to_string()), String::new())
        }
        3 => {
            fields.push(one("d", scale(m)));
            fields.push(one("m", scale(m)));
            let spelled = m.pick(&[
                "d * q[i] + m",
                "m + q[i] * d",
                "m - d * -q[i]",
                "d * q[i] - m",
                "d * (q[i] + 1) + m",
            ]);
            let group = m.pick(&[2, 3, 8]);
            let encode = m.pick(&[
                "    encode x { m = min(i) x[i]; d = (max(i) x[i] - m) / 7; q[i] = (x[i] - m) / d; }\n",
                "    encode x {
        let low = min(i) x[i];
        let s = (max(i) (x[i] - low)) / 7;
        let r = 1 / s;
        m = low;
        d = s;
        q[i] = round_away((x[i] - low) * r);
    }\n",
                "    encode x {
        let part[i / GROUP] = max(i) abs(x[i]);
        let each[i] = x[i] / part[i / GROUP];
        m = min(i) part[i / GROUP];
        d = (max(i) abs(each[i])) / 3;
        q[i] = trunc(each[i] / d);
    }\n",
            ]);
            let encode = encode.replace("GROUP", &group.to_string());
            (
                spelled.into(),
                if m.once_in(2) {
                    m.tag("encode", "with numbers of its own");
                    encode
                } else {
                    String::new()
                },
            )
        }
        4 => {
            m.tag("field", "of a part of the block");
            fields.push(parts("s", scale(m)));
            (m.product(&[format!("s{sub}"), q]), String::new())
        }
        5 => {
            m.tag("field", "of a part of the block");
            fields.push(one("d", scale(m)));
            let bits = m.between(2, 8);
            fields.push(Field {
                anywhere: true,
                ..parts("sc", (&format!("uint({bits})"), bits))
            });
            let mut text = m.product(&["d".into(), format!("sc{sub}"), q]);
            if m.once_in(2) {
                fields.push(one("e", scale(m)));
                let bits = m.between(2, 8);
                fields.push(Field {
                    anywhere: true,
                    ..parts("mn", (&format!("uint({bits})"), bits))
                });
                let minus = m.product(&["e".into(), format!("mn{sub}")]);
                text = format!("{text} - {minus}");
            }
            (text, String::new())
        }
        6 => (q, String::new()),
        7 => {
            fields.push(one("s", scale(m)));
            let bits = m.between(2, 8);
            let zero = Field {
                anywhere: true,
                ..one("z", (&format!("uint({bits})"), bits))
            };
            fields.push(zero);
            let spelled = m.pick(&["s * (q[i] - z)", "s * q[i] - s * z", "(q[i] - z) * s"]);
            (spelled.into(), String::new())
        }
        9 => {
            fields.push(one("s", scale(m)));
            let spelled = m.pick(&[
                "s * q[i] / 3 + 1",
                "max(s * q[i], 0.5) - q[i]",
                "min(q[i] + s, 1) / 7",
                "max(q[i] / 3, s)",
                "(min(s, q[i]) + 1) * q[i]",
                "max(s, q[i]) + min(s, q[i])",
            ]);
            (spelled.into(), String::new())
        }
        _ => {
            fields.push(one("s", scale(m)));
            let spelled = m.pick(&[
                "s * max(q[i], -2)",
                "s * abs(q[i] - 3)",
                "s * floor(q[i] / 2)",
                "round_away(s * q[i] / 3) * s",
                "trunc(s * q[i]) + floor_pow2(q[i])",
                "min(s * q[i], 1)",
                "s * (q[i] * q[i])",
            ]);
            (spelled.into(), String::new())
        }
    }
}

/// The bits of a code in two planes, low bits first or last in the block.
fn pieces(m: &mut Maker, field: &Field, index: &str, at: &mut u64) -> String {
    m.tag("addresses", "in pieces");
    let low = m.between(1, field.bits - 1);
    let mut piece = |m: &mut Maker, bits: u64| {
        let order = match m.once_in(3) {
            true => "msb ",
            false => "",
        };
        *at = u64::next_multiple_of(*at, 8);
        let text = format!("{bits}: {order}{at} + {bits} * ({index})");
        *at = u64::next_multiple_of(*at + bits * field.count, 8);
        text
    };
    let (first, second) = match m.once_in(2) {
        true => (piece(m, low), piece(m, field.bits - low)),
        false => {
            let high = piece(m, field.bits - low);
            (piece(m, low), high)
        }
    };
    format!("({first}, {second})")
}

/// Bit addresses of fields, and the bits that they need: in order, permuted, as a formula; scales on bytes, codes anywhere.
fn addresses(m: &mut Maker, fields: &[Field]) -> (Vec<String>, u64) {
    let mut at = 0;
    let mut texts = vec![String::new(); fields.len()];
    for f in m.order(fields.len()) {
        let field = &fields[f];
        if !field.anywhere {
            at = u64::next_multiple_of(at, 8);
        } else if m.once_in(4) {
            at += m.between(1, 5);
        }
        let index = match field.subscript.as_str() {
            "" => "0",
            s => s[1..s.len() - 1].split(',').next().unwrap_or("0"),
        };
        let half = field.count / 2;
        texts[f] = match m.below(5) {
            3 if field.anywhere => {
                m.tag("addresses", "from the highest bit");
                at = u64::next_multiple_of(at, 8);
                let text = format!("msb {at} + {} * ({index})", field.bits);
                at = u64::next_multiple_of(at + field.bits * field.count, 8);
                texts[f] = text;
                continue;
            }
            4 if field.anywhere && field.bits > 1 => {
                texts[f] = pieces(m, field, index, &mut at);
                continue;
            }
            0 if field.count > 1 && field.count <= 64 => {
                m.tag("addresses", "permuted");
                let slots: Vec<String> = m
                    .order(field.count as usize)
                    .iter()
                    .map(|s| (at + *s as u64 * field.bits).to_string())
                    .collect();
                format!("[{}]", slots.join(", "))
            }
            1 if field.bits == 4 && field.count.is_multiple_of(2) => {
                m.tag("addresses", "halves of bytes");
                format!("{at} + 8 * (({index}) % {half}) + 4 * (({index}) / {half})")
            }
            _ => format!("{at} + {} * ({index})", field.bits),
        };
        at += field.bits * field.count;
    }
    (texts, at)
}
