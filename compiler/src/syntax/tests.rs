//! The printer prints what the parser reads.

use super::ast::*;
use super::{parse, print, printer};

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    fn expr(&mut self, depth: u64) -> Expr {
        let ident = |n: &str| Ident {
            name: n.into(),
            span: Span::default(),
        };
        let kind = match if depth == 0 {
            self.below(3)
        } else {
            self.below(9)
        } {
            0 => ExprKind::Number(["0", "1.5", "2e-3"][self.below(3) as usize].into()),
            1 => ExprKind::Name(
                ["a", "at", "sum", "block", "as", "else"][self.below(6) as usize].into(),
            ),
            2 => ExprKind::Index(ident("x"), vec![self.expr(0), self.expr(0)]),
            3 => ExprKind::Neg(Box::new(self.expr(depth - 1))),
            4 => ExprKind::Call(
                ident("max"),
                (0..self.below(3)).map(|_| self.expr(depth - 1)).collect(),
            ),
            5 => {
                let binders = [vec![ident("k")], vec![ident("i"), ident("j")]];
                let name = ident(["sum", "max"][self.below(2) as usize]);
                ExprKind::Reduce(
                    name,
                    binders[self.below(2) as usize].clone(),
                    Box::new(self.expr(depth - 1)),
                )
            }
            _ => {
                let op = [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Rem, Op::Lt, Op::Ge]
                    [self.below(7) as usize];
                ExprKind::Binary(
                    op,
                    Box::new(self.expr(depth - 1)),
                    Box::new(self.expr(depth - 1)),
                )
            }
        };
        Expr {
            kind,
            span: Span::default(),
        }
    }
}

#[test]
fn any_expression_survives_printing() {
    let mut random = Random(1);
    for _ in 0..2000 {
        let e = random.expr(5);
        let text = printer::expr(&e);
        let file = match parse("x", &format!("const A = {text};")) {
            Ok(f) => f,
            Err(d) => panic!("{text}\n{d}"),
        };
        let Item::Const { value, .. } = &file.items[0] else {
            panic!()
        };
        assert_eq!(*value, crate::syntax::ast::Constant::Number(e), "{text}");
    }
}

#[test]
fn comments_are_kept_wherever_they_stand() {
    let text = include_str!("../format/std/ggml.lowbit");
    let text: String = text
        .lines()
        .filter(|l| !l.starts_with("//"))
        .map(|l| format!("{l}\n"))
        .collect();
    let text = text.as_str();
    // a comment after each token that ends a word
    for (n, (at, _)) in text
        .match_indices([' ', '\n'])
        .enumerate()
        .filter(|(n, _)| n % 5 == 0)
    {
        let commented = format!("{}\n// comment {n}\n{}", &text[..at], &text[at..]);
        let once = print(&parse("x", &commented).unwrap());
        assert_eq!(
            once.matches(&format!("// comment {n}\n")).count(),
            commented.matches(&format!("// comment {n}\n")).count()
        );
        assert_eq!(print(&parse("x", &once).unwrap()), once);
        assert_eq!(parse("x", &once).unwrap(), parse("x", text).unwrap());
    }
}
