//! Scalars: `int(4)`, `float(2, 1, finite)`, `codebook […]`, and the names that are built in.

use super::codebook::Words;
use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::{Element, FloatSpec, Format, FormatKind, Overflow, Specials};
use crate::syntax::ast::{self, ElementArg, ExprKind, Ident, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The formats that need no definition.
pub(super) fn builtin() -> BTreeMap<String, Arc<Format>> {
    let float = |exp, man| Element::Float(FloatSpec::ieee(exp, man));
    let e8m0 = FloatSpec {
        specials: Specials::NanOnly,
        overflow: Overflow::Saturate,
        signed: false,
        subnormal: false,
        ..FloatSpec::ieee(8, 0)
    };
    let list = [
        ("f32", float(8, 23)),
        ("f16", float(5, 10)),
        ("bf16", float(8, 7)),
        ("e8m0", Element::Float(e8m0)),
        ("i8", Element::Int { bits: 8 }),
        ("u8", Element::UInt { bits: 8 }),
        ("i16", Element::Int { bits: 16 }),
        ("i32", Element::Int { bits: 32 }),
    ];
    let format = |(n, e): (&str, Element)| {
        (
            n.to_string(),
            Arc::new(Format {
                name: n.to_string(),
                kind: FormatKind::Plain(e),
            }),
        )
    };
    list.into_iter().map(format).collect()
}

impl Checker<'_> {
    /// The element that a text describes.
    pub(super) fn element(&mut self, e: &ast::Element) -> Checked<Element> {
        match e {
            ast::Element::Name(n) => {
                let f = self.find_format(n)?;
                match &f.kind {
                    FormatKind::Plain(e) => Ok(e.clone()),
                    FormatKind::Block(_) => self.fail(Diagnostic::error(
                        "type",
                        n.span,
                        format!("`{}` is a block; a field is a scalar", n.name),
                        "not a scalar",
                    )),
                }
            }
            ast::Element::Codebook { axes, values, span } => self.codebook(axes, values, *span),
            ast::Element::Else { of, worth, span } => self.with_illegal(of, worth, *span),
            ast::Element::Call {
                head,
                args,
                packed,
                span,
            } => match (head.name.as_str(), packed.as_deref()) {
                ("digit", packed) => self.digits(args, packed, Words::All, *span),
                (_, Some((count, bits))) => self.fail(Diagnostic::error(
                    "type",
                    count.span.to(bits.span),
                    "only digits are packed several to a word",
                    "not allowed here",
                )),
                ("signmag" | "offset", None) => self.table_of_bits(head, args, *span),
                ("int" | "uint", None) => {
                    let [ElementArg::Value(bits)] = args.as_slice() else {
                        return self.fail(Diagnostic::error(
                            "arguments",
                            *span,
                            format!("`{}` takes one argument, its bits", head.name),
                            "expected for example `int(4)`",
                        ));
                    };
                    let bits = self.count(bits, "the number of bits", 1, 32)? as u8;
                    Ok(if head.name == "int" {
                        Element::Int { bits }
                    } else {
                        Element::UInt { bits }
                    })
                }
                ("float", None) => self.float(args, *span),
                (other, None) => {
                    let known = [
                        "int", "uint", "float", "codebook", "signmag", "offset", "digit",
                    ];
                    let d = Diagnostic::error(
                        "unknown-name",
                        head.span,
                        format!("there is no element `{other}`"),
                        "expected `int`, `uint`, `float`, `codebook`, `signmag`, `offset` or `digit`",
                    );
                    self.fail(d.near(head.span, other, known))
                }
            },
        }
    }

    /// A constant that fits f32.
    pub(super) fn single(&mut self, e: &ast::Expr) -> Checked<f32> {
        let v = self.real(e)? as f32;
        if v.is_finite() {
            return Ok(v);
        }
        self.fail(Diagnostic::error(
            "range",
            e.span,
            "this constant is larger than any f32",
            "too large",
        ))
    }

    fn float(&mut self, args: &[ElementArg], span: Span) -> Checked<Element> {
        let (Some(ElementArg::Value(exp)), Some(ElementArg::Value(man))) =
            (args.first(), args.get(1))
        else {
            return self.fail(Diagnostic::error(
                "arguments",
                span,
                "`float` takes its exponent and mantissa bits first",
                "expected for example `float(4, 3)`",
            ));
        };
        let exp = self.count(exp, "the number of exponent bits", 1, 8)? as u8;
        let man = self.count(man, "the number of mantissa bits", 0, 23)? as u8;
        let mut f = FloatSpec::ieee(exp, man);
        let mut overflow = None;
        for a in &args[2..] {
            match a {
                ElementArg::Bias(e) => f.bias = self.count(e, "the bias", -1000, 1000)? as i32,
                ElementArg::Value(e) => self.property(e, &mut f, &mut overflow)?,
            }
        }
        f.overflow = match (overflow, f.specials) {
            (Some(Overflow::Special), Specials::Finite) => {
                return self.fail(Diagnostic::error(
                    "arguments",
                    span,
                    "a finite float has nothing to overflow to",
                    "`finite` and `overflow`",
                ));
            }
            (Some(overflow), _) => overflow,
            (None, Specials::Ieee) => Overflow::Special,
            (None, _) => Overflow::Saturate,
        };
        let bits = f.bits();
        let codes_left = match f.specials {
            Specials::Ieee => exp >= 2,
            Specials::Finite => true,
            Specials::NanOnly => exp + man >= 2,
            Specials::NanAtNegativeZero => f.signed,
        };
        if !codes_left || bits > 32 || bits == 0 {
            return self.fail(
                Diagnostic::error(
                    "range",
                    span,
                    "this float has no finite codes, or more than 32 bits",
                    format!("{bits} bits"),
                )
                .help("`finite` gives all codes to finite numbers"),
            );
        }
        let low = f.min_exponent() - i32::from(f.man);
        let top = Element::Float(f).range().1;
        if top > f64::from(f32::MAX) || low < -149 {
            let label = format!("from 2^{low} up to {top:e}");
            return self.fail(
                Diagnostic::error(
                    "range",
                    span,
                    "this float has values that f32 cannot hold",
                    label,
                )
                .help("choose another `bias`: values must lie between 2^-149 and 2^128"),
            );
        }
        Ok(Element::Float(f))
    }

    /// One of the words behind the widths of a float.
    fn property(
        &mut self,
        e: &ast::Expr,
        f: &mut FloatSpec,
        overflow: &mut Option<Overflow>,
    ) -> Checked<()> {
        let flag = match &e.kind {
            ExprKind::Name(n) => n.as_str(),
            _ => "",
        };
        match flag {
            "ieee" => f.specials = Specials::Ieee,
            "finite" => f.specials = Specials::Finite,
            "nan" => f.specials = Specials::NanOnly,
            "fnuz" => f.specials = Specials::NanAtNegativeZero,
            "saturate" => *overflow = Some(Overflow::Saturate),
            "overflow" => *overflow = Some(Overflow::Special),
            "unsigned" => f.signed = false,
            "no_subnormals" => f.subnormal = false,
            _ => {
                let flags = [
                    "ieee",
                    "finite",
                    "nan",
                    "fnuz",
                    "saturate",
                    "overflow",
                    "unsigned",
                    "no_subnormals",
                ];
                let d = Diagnostic::error(
                    "unknown-name",
                    e.span,
                    "this is not a property of a float",
                    format!("expected `bias B` or one of {}", flags.join(", ")),
                );
                return self.fail(d.near(e.span, flag, flags));
            }
        }
        Ok(())
    }

    /// The names in a list, for messages.
    pub(super) fn names(list: &[Ident]) -> Vec<&str> {
        list.iter().map(|i| i.name.as_str()).collect()
    }
}
