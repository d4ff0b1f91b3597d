//! Builds the tree of each item from what the grammar matches.

use super::ast::*;
use super::expected::syntax_error;
use super::split::split;
use crate::diagnostic::{Diagnostic, Diagnostics};
use pest::Parser;
use pest::iterators::Pair;
use std::collections::BTreeSet;

#[derive(pest_derive::Parser)]
#[grammar = "syntax/grammar.pest"]
pub(super) struct Grammar;

/// Most nodes of one expression.
const MAX_NODES: usize = 4096;
/// Deepest expression; a sum of n terms is n deep.
const MAX_DEPTH: usize = 256;

/// The items that parse, and the errors of those that do not.
pub(crate) fn parse_partial(name: &str, text: &str) -> (File, Diagnostics) {
    let mut errors = Diagnostics::new(name, text);
    let pieces = split(text, &mut errors);
    let mut file = File {
        items: Vec::new(),
        comments: pieces.comments,
        blank_lines: pieces.blank_lines,
        broken: Vec::new(),
    };
    for span in pieces.items {
        match parse_item(text, span) {
            Ok(item) => file.items.push(item),
            Err(list) => {
                file.broken.extend(name_of(&text[span.range()]));
                errors.list.extend(list);
            }
        }
    }
    file.broken.extend(
        pieces
            .broken
            .iter()
            .filter_map(|s| name_of(&text[s.range()])),
    );
    errors.sort();
    (file, errors)
}

/// Names of the productions of the grammar that the items of a text are made of: for tests of how much a set of texts covers.
pub fn productions(text: &str) -> BTreeSet<String> {
    let pieces = split(text, &mut Diagnostics::new("", text));
    let items = pieces.items.iter().map(|span| &text[span.range()]);
    let pairs = items.filter_map(|item| Grammar::parse(Rule::item, item).ok());
    let rules = pairs.flat_map(|pairs| pairs.flatten());
    rules.map(|pair| format!("{:?}", pair.as_rule())).collect()
}

/// Names of all productions of the grammar that leave a node.
pub fn all_productions() -> BTreeSet<String> {
    let silent = [
        "item",
        "boundary",
        "member",
        "exprs",
        "body_start",
        "EOI",
        "WHITESPACE",
        "COMMENT",
    ];
    let names = Rule::all_rules().iter().map(|r| format!("{r:?}"));
    names.filter(|n| !silent.contains(&n.as_str())).collect()
}

/// The name that an item with an error would have defined: its second word.
fn name_of(item: &str) -> Option<String> {
    let word = item
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty())
        .nth(1)?;
    Some(word.to_string())
}

fn parse_item(text: &str, span: Span) -> Result<Item, Vec<Diagnostic>> {
    let source = &text[span.range()];
    let pair = match Grammar::parse(Rule::item, source) {
        Ok(mut pairs) => pairs.next(),
        Err(e) => return Err(vec![syntax_error(source, span.start, &e)]),
    };
    let mut builder = Builder {
        base: span.start,
        nodes: 0,
        errors: Vec::new(),
    };
    let item = pair.and_then(|p| builder.item(p));
    match item {
        Some(item) if builder.errors.is_empty() => Ok(item),
        _ if !builder.errors.is_empty() => Err(builder.errors),
        _ => Err(vec![Diagnostic::error(
            "syntax",
            span,
            "this item cannot be read",
            "",
        )]),
    }
}

struct Builder {
    base: usize,
    nodes: usize,
    errors: Vec<Diagnostic>,
}

type P<'a> = Pair<'a, Rule>;

/// The parts of a match that carry meaning.
fn parts(pair: P<'_>) -> impl Iterator<Item = P<'_>> {
    pair.into_inner().filter(|p| {
        !matches!(
            p.as_rule(),
            Rule::semi
                | Rule::equals
                | Rule::comma
                | Rule::colon
                | Rule::arrow
                | Rule::less
                | Rule::open_paren
                | Rule::close_paren
                | Rule::open_bracket
                | Rule::close_bracket
                | Rule::open_brace
                | Rule::close_brace
                | Rule::kw_at
                | Rule::kw_block
                | Rule::kw_bytes
                | Rule::kw_bias
                | Rule::kw_codebook
                | Rule::kw_packed
                | Rule::kw_per
                | Rule::kw_else
                | Rule::kw_quantize
                | Rule::kw_as
                | Rule::kw_language
                | Rule::kw_import
                | Rule::kw_const
                | Rule::kw_format
                | Rule::kw_kernel
                | Rule::kw_value
                | Rule::kw_encode
        )
    })
}

impl Builder {
    fn span(&self, p: &P<'_>) -> Span {
        let s = p.as_span();
        let trimmed = s.as_str().trim_end().len();
        Span {
            start: self.base + s.start(),
            end: self.base + s.start() + trimmed,
        }
    }

    fn ident(&self, p: P<'_>) -> Ident {
        Ident {
            name: p.as_str().to_string(),
            span: self.span(&p),
        }
    }

    fn item(&mut self, p: P<'_>) -> Option<Item> {
        let span = self.span(&p);
        let rule = p.as_rule();
        let mut it = parts(p);
        Some(match rule {
            Rule::language => {
                let p = it.next()?;
                Item::Language {
                    version: Expr {
                        kind: ExprKind::Number(p.as_str().into()),
                        span: self.span(&p),
                    },
                    span,
                }
            }
            Rule::import => {
                let mut path = self.ident(it.next()?);
                path.name = path.name.trim_matches('"').to_string();
                Item::Import { path, span }
            }
            Rule::constant => {
                let name = self.ident(it.next()?);
                let p = it.next()?;
                let value = match p.as_rule() {
                    Rule::list => {
                        let span = self.span(&p);
                        Constant::List(self.list(parts(p))?, span)
                    }
                    _ => Constant::Number(self.root(p)?),
                };
                Item::Const { name, value, span }
            }
            Rule::format => {
                let name = self.ident(it.next()?);
                let p = it.next()?;
                let body = match p.as_rule() {
                    Rule::block => FormatBody::Block(self.block(p)?),
                    _ => FormatBody::Element(self.element(p)?),
                };
                Item::Format { name, body, span }
            }
            Rule::kernel => self.kernel(it, span)?,
            _ => return None,
        })
    }

    fn element(&mut self, p: P<'_>) -> Option<Element> {
        let mut words = parts(p).peekable();
        let p = words.next()?;
        let span = self.span(&p);
        let mut element = match p.as_rule() {
            Rule::codebook => self.codebook(p, span)?,
            Rule::constructor => {
                let mut it = parts(p);
                let head = self.ident(it.next()?);
                let args = it.map(|a| {
                    let a = parts(a).next()?;
                    Some(match a.as_rule() {
                        Rule::bias => ElementArg::Bias(self.root(parts(a).next()?)?),
                        _ => ElementArg::Value(self.root(a)?),
                    })
                });
                let args = args.collect::<Option<_>>()?;
                let packed = match words.next_if(|p| p.as_rule() == Rule::packed) {
                    None => None,
                    Some(p) => {
                        let mut it = parts(p);
                        let (count, bits) = (self.root(it.next()?)?, self.root(it.next()?)?);
                        Some(Box::new((count, bits)))
                    }
                };
                Element::Call {
                    head,
                    args,
                    packed,
                    span,
                }
            }
            _ => Element::Name(self.ident(p)),
        };
        if let Some(p) = words.next() {
            let span = self.span(&p);
            element = Element::Else {
                of: Box::new(element),
                worth: self.root(parts(p).next()?)?,
                span,
            };
        }
        Some(element)
    }

    fn codebook(&mut self, p: P<'_>, span: Span) -> Option<Element> {
        let mut axes = Vec::new();
        let mut values = None;
        for p in parts(p) {
            match p.as_rule() {
                Rule::axis => axes.push(self.axis(p)?),
                Rule::list => values = Some(CodebookValues::List(self.list(parts(p))?)),
                _ => values = Some(CodebookValues::Formula(Box::new(self.root(p)?))),
            }
        }
        Some(Element::Codebook {
            axes,
            values: values?,
            span,
        })
    }

    fn axis(&mut self, p: P<'_>) -> Option<(Ident, Expr)> {
        let mut it = parts(p);
        Some((self.ident(it.next()?), self.root(it.next()?)?))
    }

    fn list<'a>(&mut self, it: impl Iterator<Item = P<'a>>) -> Option<Vec<Expr>> {
        it.map(|p| self.root(p)).collect()
    }

    fn block(&mut self, p: P<'_>) -> Option<Block> {
        let mut block = Block {
            axes: Vec::new(),
            bytes: None,
            frame: Vec::new(),
            members: Vec::new(),
            span: self.span(&p),
        };
        for p in parts(p) {
            let span = self.span(&p);
            match p.as_rule() {
                Rule::axis => block.axes.push(self.axis(p)?),
                Rule::bytes => block.bytes = Some(self.root(parts(p).next()?)?),
                Rule::frame => {
                    let mut it = parts(p).peekable();
                    let scope = self.ident(it.next()?);
                    let after = it.next_if(|p| p.as_rule() == Rule::kw_after).is_some();
                    let bytes = self.root(parts(it.next()?).next()?)?;
                    block.frame.push(FrameBytes {
                        scope,
                        after,
                        bytes,
                    });
                }
                Rule::value => block.members.push(Member::Value {
                    value: self.root(parts(p).next()?)?,
                    span,
                }),
                Rule::encode => {
                    let mut it = parts(p);
                    let var = self.ident(it.next()?);
                    let steps = it.map(|p| self.step(p)).collect::<Option<_>>()?;
                    block.members.push(Member::Encode { var, steps, span });
                }
                _ => {
                    let f = self.field(p)?;
                    block.members.push(Member::Field(Box::new(f)));
                }
            }
        }
        Some(block)
    }

    fn step(&mut self, p: P<'_>) -> Option<Step> {
        let span = self.span(&p);
        let mut it = parts(p).peekable();
        let is_let = it.next_if(|p| p.as_rule() == Rule::kw_let).is_some();
        let name = self.ident(it.next()?);
        let subscript = match it.next_if(|p| p.as_rule() == Rule::subscript) {
            Some(s) => self.list(parts(s))?,
            None => Vec::new(),
        };
        Some(Step {
            is_let,
            name,
            subscript,
            value: self.root(it.next()?)?,
            span,
        })
    }

    fn field(&mut self, p: P<'_>) -> Option<Field> {
        let span = self.span(&p);
        let mut it = parts(p).peekable();
        let kept = it.next_if(|p| p.as_rule() == Rule::kw_kept);
        let kept = kept.map(|p| self.span(&p));
        let scope = it
            .next_if(|p| p.as_rule() == Rule::scope)
            .map(|p| self.ident(p));
        let name = self.ident(it.next()?);
        let subscript = match it.next_if(|p| p.as_rule() == Rule::subscript) {
            Some(s) => self.list(parts(s))?,
            None => Vec::new(),
        };
        let element = self.element(it.next()?)?;
        let after = it.next_if(|p| p.as_rule() == Rule::kw_after);
        let after = after.map(|p| self.span(&p));
        let at = match it.next() {
            None => None,
            Some(p) if p.as_rule() == Rule::pieces => {
                let span = self.span(&p);
                let pieces = parts(p).map(|p| {
                    let mut it = parts(p);
                    Some((self.root(it.next()?)?, self.addresses(it.next()?)?))
                });
                Some(Placement::Pieces(pieces.collect::<Option<_>>()?, span))
            }
            Some(p) => Some(Placement::Whole(self.addresses(p)?)),
        };
        Some(Field {
            kept,
            scope,
            name,
            subscript,
            element,
            after,
            at,
            span,
        })
    }

    fn addresses(&mut self, p: P<'_>) -> Option<Addresses> {
        let span = self.span(&p);
        let mut it = parts(p).peekable();
        let msb = it.next_if(|p| p.as_rule() == Rule::kw_msb).is_some();
        let p = it.next()?;
        let kind = match p.as_rule() {
            Rule::list => AddressKind::List(self.list(parts(p))?),
            _ => AddressKind::Formula(self.root(p)?),
        };
        Some(Addresses { msb, kind, span })
    }

    fn kernel<'a>(&mut self, it: impl Iterator<Item = P<'a>>, span: Span) -> Option<Item> {
        let mut it = it.peekable();
        let name = self.ident(it.next()?);
        let mut kernel = Kernel {
            name,
            params: Vec::new(),
            outputs: Vec::new(),
            tables: None,
            statements: Vec::new(),
            span,
        };
        for p in it {
            match p.as_rule() {
                Rule::params => {
                    kernel.params = parts(p).map(|p| self.param(p)).collect::<Option<_>>()?
                }
                Rule::outputs => {
                    kernel.outputs = parts(p).map(|p| self.param(p)).collect::<Option<_>>()?
                }
                Rule::tables => kernel.tables = Some(self.ident(parts(p).last()?)),
                _ => kernel.statements.push(self.statement(p)?),
            }
        }
        Some(Item::Kernel(kernel))
    }

    fn param(&mut self, p: P<'_>) -> Option<Param> {
        let span = self.span(&p);
        let mut it = parts(p);
        let (role, name, format) = (
            self.ident(it.next()?),
            self.ident(it.next()?),
            self.ident(it.next()?),
        );
        let shape = match it.next() {
            Some(s) => self.list(parts(s))?,
            None => Vec::new(),
        };
        Some(Param {
            role,
            name,
            format,
            shape,
            span,
        })
    }

    fn statement(&mut self, p: P<'_>) -> Option<Statement> {
        let span = self.span(&p);
        let mut it = parts(p).peekable();
        let is_let = it.next_if(|p| p.as_rule() == Rule::kw_let).is_some();
        let targets = parts(it.next()?).map(|p| {
            let span = self.span(&p);
            let mut it = parts(p);
            let name = self.ident(it.next()?);
            let subscript = match it.next() {
                Some(s) => self.list(parts(s))?,
                None => Vec::new(),
            };
            Some(Target {
                name,
                subscript,
                span,
            })
        });
        let targets = targets.collect::<Option<_>>()?;
        let values = parts(it.next()?).map(|p| {
            let span = self.span(&p);
            let p = parts(p).next()?;
            if p.as_rule() == Rule::quantize {
                let mut it = parts(p);
                return Some(Value {
                    expr: self.root(it.next()?)?,
                    quantize: Some(self.ident(it.next()?)),
                    span,
                });
            }
            Some(Value {
                expr: self.root(p)?,
                quantize: None,
                span,
            })
        });
        Some(Statement {
            is_let,
            targets,
            values: values.collect::<Option<_>>()?,
            span,
        })
    }

    /// A whole expression, within the limits of one.
    fn root(&mut self, p: P<'_>) -> Option<Expr> {
        let span = self.span(&p);
        self.nodes = 0;
        let (expr, depth) = self.expr(p)?;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let message = format!(
                "the expression is {depth} deep and has {} nodes; the limits are {MAX_DEPTH} and {MAX_NODES}",
                self.nodes
            );
            self.errors.push(
                Diagnostic::error("too-deep", span, message, "too long")
                    .help("name a part of it with `let`, or group its terms with parentheses"),
            );
            return flatten(expr);
        }
        Some(expr)
    }

    fn node(&mut self, kind: ExprKind, span: Span, depth: usize) -> (Expr, usize) {
        self.nodes += 1;
        (Expr { kind, span }, depth + 1)
    }

    /// The expression and its depth.
    fn expr(&mut self, p: P<'_>) -> Option<(Expr, usize)> {
        let span = self.span(&p);
        match p.as_rule() {
            Rule::expr | Rule::expr_sum | Rule::product => {
                let mut it = parts(p);
                let (mut left, mut depth) = self.expr(it.next()?)?;
                while let (Some(op), Some(right)) = (it.next(), it.next()) {
                    let (right, d) = self.expr(right)?;
                    let span = left.span.to(right.span);
                    let kind =
                        ExprKind::Binary(operator(op.as_str())?, Box::new(left), Box::new(right));
                    (left, depth) = self.node(kind, span, depth.max(d));
                }
                Some((left, depth))
            }
            Rule::factor => {
                let mut minus = Vec::new();
                for p in parts(p) {
                    if p.as_rule() == Rule::minus {
                        minus.push(self.span(&p));
                        continue;
                    }
                    let (mut e, mut depth) = self.expr(p)?;
                    for m in minus.iter().rev() {
                        let span = m.to(e.span);
                        (e, depth) = self.node(ExprKind::Neg(Box::new(e)), span, depth);
                    }
                    return Some((e, depth));
                }
                None
            }
            Rule::group => {
                let (mut e, depth) = self.expr(parts(p).next()?)?;
                e.span = span;
                Some((e, depth))
            }
            Rule::number => Some(self.node(ExprKind::Number(p.as_str().into()), span, 0)),
            Rule::access => {
                let mut it = parts(p);
                let name = self.ident(it.next()?);
                match it.next() {
                    None => Some(self.node(ExprKind::Name(name.name), name.span, 0)),
                    Some(s) => {
                        let (list, depth) = self.exprs(parts(s))?;
                        Some(self.node(ExprKind::Index(name, list), span, depth))
                    }
                }
            }
            Rule::call => {
                let mut it = parts(p);
                let name = self.ident(it.next()?);
                let (list, depth) = self.exprs(it)?;
                Some(self.node(ExprKind::Call(name, list), span, depth))
            }
            Rule::reduce => {
                let mut it = parts(p);
                let name = self.ident(it.next()?);
                let binders = parts(it.next()?).map(|b| self.ident(b)).collect();
                let (body, depth) = self.expr(it.next()?)?;
                Some(self.node(ExprKind::Reduce(name, binders, Box::new(body)), span, depth))
            }
            _ => None,
        }
    }

    fn exprs<'a>(&mut self, it: impl Iterator<Item = P<'a>>) -> Option<(Vec<Expr>, usize)> {
        let mut depth = 0;
        let mut list = Vec::new();
        for p in it {
            let (e, d) = self.expr(p)?;
            depth = depth.max(d);
            list.push(e);
        }
        Some((list, depth))
    }
}

/// Takes a tree that is too deep apart without recursion; there is nothing left to return.
fn flatten(e: Expr) -> Option<Expr> {
    let mut stack = vec![e];
    while let Some(e) = stack.pop() {
        match e.kind {
            ExprKind::Number(_) | ExprKind::Name(_) => {}
            ExprKind::Index(_, list) | ExprKind::Call(_, list) => stack.extend(list),
            ExprKind::Neg(a) | ExprKind::Reduce(_, _, a) => stack.push(*a),
            ExprKind::Binary(_, a, b) => stack.extend([*a, *b]),
        }
    }
    None
}

fn operator(text: &str) -> Option<Op> {
    use Op::*;
    [Add, Sub, Mul, Div, Rem, Lt, Le, Eq, Gt, Ge]
        .into_iter()
        .find(|op| op.text() == text)
}
