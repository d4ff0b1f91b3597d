//! Elements that are tables: codebooks by list or by formula, digits of a mixed radix, sign and magnitude, offset binary.

use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::{Codebook, Element, Illegal};
use crate::syntax::ast::{self, CodebookValues, ElementArg, Expr, ExprKind, Ident, Span};
use std::sync::Arc;

/// Most values of a codebook, over all its codes.
const MAX_VALUES: i64 = 1 << 16;
/// Most bits of a code whose values are made as a table.
const MAX_TABLE_BITS: i64 = 16;
/// The NaN that illegal codes are worth, the same in every layout id.
const NAN: f32 = f32::from_bits(0x7fc0_0000);

/// Which words of digits have values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Every one: past the largest number that the digits can write, its lowest digits.
    All,
    /// Those that the digits can write.
    Written,
}

impl Checker<'_> {
    pub(super) fn codebook(
        &mut self,
        axes: &[(Ident, Expr)],
        values: &CodebookValues,
        span: Span,
    ) -> Checked<Element> {
        match (axes, values) {
            ([], CodebookValues::List(list)) => self.listed(list, 1, span),
            ([(_, width)], CodebookValues::List(list)) => {
                let width = self.count(width, "the values of a code", 1, MAX_VALUES)?;
                self.listed(list, width as u32, span)
            }
            ([_, (_, other), ..], CodebookValues::List(_)) => self.fail(
                Diagnostic::error(
                    "arguments",
                    other.span,
                    "a listed codebook says how many values a code has; the list says how many codes there are",
                    "one extent too many",
                ),
            ),
            ([], CodebookValues::Formula(e)) => self.fail(
                Diagnostic::error(
                    "missing",
                    e.span,
                    "a codebook is a list, or a formula of its code",
                    "expected `[`, or a code: `codebook c < 16: …`",
                ),
            ),
            ([code, rest @ ..], CodebookValues::Formula(e)) => self.by_formula(code, rest.first(), e),
        }
    }

    fn listed(&mut self, list: &[Expr], width: u32, span: Span) -> Checked<Element> {
        if list.len() as i64 > MAX_VALUES {
            return self.too_many(list.len() as i64, span);
        }
        if !list.len().is_multiple_of(width as usize) {
            return self.fail(Diagnostic::error(
                "size",
                span,
                format!("a code has {width} values, and the list {}", list.len()),
                format!("is no multiple of {width}"),
            ));
        }
        let values = list.iter().map(|e| match is_hole(e) {
            true => Ok(None),
            false => self.single(e).map(Some),
        });
        let values = values.collect::<Checked<Vec<Option<f32>>>>()?;
        let holes = self.holes(list, &values, width)?;
        let entries = values.into_iter().map(|v| v.unwrap_or(0.0)).collect();
        let book = Codebook::of(entries, width).with_holes(holes);
        Ok(Element::Codebook(Arc::new(book)))
    }

    /// The codes of a list that have no values: `_` stands for all of them.
    fn holes(&mut self, list: &[Expr], values: &[Option<f32>], width: u32) -> Checked<Vec<u32>> {
        let mut holes = Vec::new();
        let codes = values
            .chunks(width as usize)
            .zip(list.chunks(width as usize));
        for (code, (values, texts)) in (0..).zip(codes) {
            match values.iter().filter(|v| v.is_none()).count() {
                0 => {}
                all if all == values.len() => holes.push(code),
                _ => {
                    let span = texts[0].span.to(texts[texts.len() - 1].span);
                    return self.fail(Diagnostic::error(
                        "size",
                        span,
                        format!("code {code} has only some of its {width} values"),
                        "an illegal code has `_` for all of them",
                    ));
                }
            }
        }
        if let (Some(first), Some(last)) = (list.first(), list.last())
            && holes.len() * width as usize == values.len()
        {
            return self.fail(Diagnostic::error(
                "missing",
                first.span.to(last.span),
                "a codebook without a value",
                "every code is illegal",
            ));
        }
        Ok(holes)
    }

    fn by_formula(
        &mut self,
        (code, codes): &(Ident, Expr),
        component: Option<&(Ident, Expr)>,
        e: &Expr,
    ) -> Checked<Element> {
        let codes = self.count(codes, "the codes of a codebook", 1, MAX_VALUES)?;
        let (name, width) = match component {
            Some((name, width)) => (
                name.name.as_str(),
                self.count(width, "the values of a code", 1, MAX_VALUES)?,
            ),
            None => ("", 1),
        };
        if codes * width > MAX_VALUES {
            return self.too_many(codes * width, e.span);
        }
        let formula = self.formula(e, &[&code.name, name])?;
        self.bound_work(&formula, (codes * width) as usize)?;
        let mut entries = Vec::with_capacity((codes * width) as usize);
        let mut stack = Vec::new();
        for c in 0..codes {
            for j in 0..width {
                let value = formula.eval(&[c, j], &mut stack);
                let exact = value.filter(|v| (*v as f32) as i64 == *v);
                let Some(value) = exact else {
                    let value = value.map_or("no number".to_string(), |v| v.to_string());
                    let place = match component {
                        Some(_) => format!("{} = {c}, {name} = {j}", code.name),
                        None => format!("{} = {c}", code.name),
                    };
                    return self.fail(Diagnostic::error(
                        "range",
                        e.span,
                        "a value of the codebook is no integer that f32 holds",
                        format!("comes to {value} for {place}"),
                    ));
                };
                entries.push(value as f32);
            }
        }
        Ok(element(entries, width as u32))
    }

    fn too_many(&mut self, count: i64, span: Span) -> Checked<Element> {
        self.fail(Diagnostic::error(
            "limit",
            span,
            format!("a codebook of {count} values; the limit is {MAX_VALUES}"),
            "too many",
        ))
    }

    /// `codebook [-1, 0, 1] else refuse`: an element, and what its illegal codes are.
    pub(super) fn with_illegal(
        &mut self,
        of: &ast::Element,
        worth: &Expr,
        clause: Span,
    ) -> Checked<Element> {
        let element = match of {
            ast::Element::Codebook { .. } => self.element(of)?,
            ast::Element::Call {
                head, args, packed, ..
            } if head.name == "digit" => {
                self.digits(args, packed.as_deref(), Words::Written, of.span())?
            }
            ast::Element::Name(_) | ast::Element::Call { .. } | ast::Element::Else { .. } => {
                let d = Diagnostic::error(
                    "type",
                    clause,
                    "only codebooks and digits have codes without values",
                    "not allowed here",
                );
                return self.fail(match of {
                    ast::Element::Name(n) => {
                        d.help(format!("say it where `{}` is defined", n.name))
                    }
                    _ => d
                        .also(of.span(), "every code of this has a value")
                        .help("`codebook c < 6: c else refuse` are the integers below 6"),
                });
            }
        };
        let illegal = self.illegal(worth)?;
        match element {
            Element::Codebook(book) if book.has_illegal() => {
                let book = Codebook::clone(&book).with_illegal(illegal);
                Ok(Element::Codebook(Arc::new(book)))
            }
            full => {
                let codes = 1u64 << full.bits();
                self.fail(
                    Diagnostic::error(
                        "size",
                        clause,
                        "there are no codes left to say this of",
                        format!("all {codes} codes of {} bits have values", full.bits()),
                    )
                    .fix(
                        Span {
                            start: of.span().end,
                            end: clause.end,
                        },
                        "",
                    ),
                )
            }
        }
    }

    /// What stands behind `else`.
    fn illegal(&mut self, worth: &Expr) -> Checked<Illegal> {
        let words = ["nan", "refuse"];
        Ok(match &worth.kind {
            ExprKind::Name(n) if n == "refuse" => Illegal::Refused,
            ExprKind::Name(n) if n == "nan" => Illegal::Worth(NAN),
            ExprKind::Name(n) if !self.consts.contains_key(n) => {
                let d = Diagnostic::error(
                    "unknown-name",
                    worth.span,
                    format!("`{n}` does not say what illegal codes are"),
                    "expected a constant, `nan` or `refuse`",
                );
                let d = match words.into_iter().find(|w| n.eq_ignore_ascii_case(w)) {
                    Some(word) => d.fix(worth.span, word),
                    None => {
                        let constants = self.consts.keys().map(String::as_str);
                        d.near(worth.span, n, constants.chain(words))
                    }
                };
                return self.fail_unless_broken(n, d);
            }
            _ => Illegal::Worth(self.single(worth)?),
        })
    }

    /// `digit(3) packed 5 per 8`: the digits of a word, the lowest first.
    pub(super) fn digits(
        &mut self,
        args: &[ElementArg],
        packed: Option<&(Expr, Expr)>,
        words: Words,
        span: Span,
    ) -> Checked<Element> {
        let ([ElementArg::Value(radix)], Some((count, bits))) = (args, packed) else {
            return self.fail(Diagnostic::error(
                "arguments",
                span,
                "a digit says its radix, and how many are packed to a word of how many bits",
                "expected for example `digit(3) packed 5 per 8`",
            ));
        };
        let radix = self.count(radix, "the radix", 2, 1 << 16)? as u64;
        let digits = self.count(count, "the digits of a word", 1, MAX_TABLE_BITS)? as u32;
        let word = self.count(bits, "the bits of a word", 1, MAX_TABLE_BITS)? as u32;
        let codes = 1u64 << word;
        let written = radix.checked_pow(digits).filter(|w| *w <= codes);
        let Some(written) = written else {
            return self.fail(Diagnostic::error(
                "size",
                count.span.to(bits.span),
                format!("{digits} digits of radix {radix} do not fit {word} bits"),
                "too many digits",
            ));
        };
        if codes as i64 * i64::from(digits) > MAX_VALUES {
            return self.too_many(codes as i64 * i64::from(digits), span);
        }
        let digit = |c: u64, j: u32| (c / radix.pow(j) % radix) as f32;
        let entries = (0..codes).flat_map(|c| (0..digits).map(move |j| digit(c, j)));
        let illegal = match words {
            Words::All => codes..codes,
            Words::Written => written..codes,
        };
        let book = Codebook::of(entries.collect(), digits);
        let book = book.with_holes(illegal.map(|c| c as u32).collect());
        Ok(Element::Codebook(Arc::new(book)))
    }

    /// `signmag(4)`, `offset(4)`: integers with a sign bit, and integers less half of their range.
    pub(super) fn table_of_bits(
        &mut self,
        head: &Ident,
        args: &[ElementArg],
        span: Span,
    ) -> Checked<Element> {
        let [ElementArg::Value(bits)] = args else {
            return self.fail(Diagnostic::error(
                "arguments",
                span,
                format!("`{}` takes one argument, its bits", head.name),
                format!("expected for example `{}(4)`", head.name),
            ));
        };
        let bits = self.count(bits, "the number of bits", 2, MAX_TABLE_BITS)? as u32;
        let half = 1u32 << (bits - 1);
        let value = |code: u32| match head.name.as_str() {
            "signmag" if code >= half => -((code - half) as f32),
            "signmag" => code as f32,
            _ => code as f32 - half as f32,
        };
        Ok(element((0..2 * half).map(value).collect(), 1))
    }
}

/// Whether an entry of a list says that its code is illegal.
fn is_hole(e: &Expr) -> bool {
    matches!(&e.kind, ExprKind::Name(n) if n == "_")
}

fn element(entries: Vec<f32>, width: u32) -> Element {
    Element::Codebook(Arc::new(Codebook::of(entries, width)))
}
