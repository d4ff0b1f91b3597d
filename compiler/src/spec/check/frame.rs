//! What rows and tensors have once: their fields, and the bytes around blocks that hold these.

use super::block::{Axes, MAX_BYTES};
use super::place::Used;
use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::{Element, Field, Frame, Scope, Side};
use crate::syntax::ast::{self, Ident};

impl Checker<'_> {
    /// How often a field is stored, and on which side of the blocks.
    pub(super) fn scope_of(&mut self, f: &ast::Field) -> Checked<Scope> {
        match (&f.scope, f.after) {
            (Some(scope), after) => Ok(named(scope, after.is_some())),
            (None, None) => Ok(Scope::Block),
            (None, Some(after)) => self.fail(
                Diagnostic::error(
                    "placement",
                    after,
                    "only what a row or the tensor has once lies after blocks",
                    format!("`{}` belongs to the block", f.name.name),
                )
                .help(format!(
                    "write `row {}` or `tensor {}`",
                    f.name.name, f.name.name
                )),
            ),
        }
    }

    /// A field that a row or the tensor has once.
    pub(super) fn shared_field(
        &mut self,
        f: &ast::Field,
        scope: Scope,
        element: Element,
        axes: &Axes<'_>,
    ) -> Checked<Field> {
        if element.width() > 1 || element.refuses() {
            let what = match element.width() {
                1 => "refuse codes",
                _ => "have several values",
            };
            return self.fail(Diagnostic::error(
                "not-supported",
                f.name.span,
                format!("fields of rows and tensors cannot {what} yet"),
                "must have one value for each code",
            ));
        }
        self.stored_once(&f.name, &f.subscript, scope, axes)?;
        Ok(Field {
            name: f.name.name.clone(),
            element,
            scope,
            count: 1,
            occurrence: vec![0; axes.len as usize],
            component: vec![0; axes.len as usize],
            parts: Vec::new(),
        })
    }

    /// Whether a field of a row or of the tensor is named as such: with the row of the block, or without a subscript.
    pub(super) fn stored_once(
        &mut self,
        name: &Ident,
        subscript: &[ast::Expr],
        scope: Scope,
        axes: &Axes<'_>,
    ) -> Checked<()> {
        let row = matches!(scope, Scope::Row(_)).then_some(axes.row).flatten();
        let wanted = row.map(|r| r.name.as_str());
        let named = subscript.iter().map(|e| match &e.kind {
            ast::ExprKind::Name(n) => n.as_str(),
            _ => "",
        });
        if named.eq(wanted) {
            return Ok(());
        }
        let span = subscript.first().map_or(name.span, |e| e.span);
        let what = match scope {
            Scope::Tensor(_) => "the tensor",
            Scope::Block | Scope::Row(_) => "a row",
        };
        let text = match wanted {
            Some(row) => format!("expected `{}[{row}]`", name.name),
            None => "expected no subscript".into(),
        };
        let message = format!("{what} has `{}` once", name.name);
        self.fail(Diagnostic::error("subscript", span, message, text))
    }

    /// The bytes around blocks, which must hold the fields that lie there.
    pub(super) fn frame(&mut self, b: &ast::Block, used: &Used, placed: bool) -> Checked<Frame> {
        let mut frame = Frame::default();
        let mut given: Vec<Scope> = Vec::new();
        for f in &b.frame {
            let scope = named(&f.scope, f.after);
            let most = MAX_BYTES;
            let count = self.count(&f.bytes, "the bytes around blocks", 0, most)? as u32;
            let needed = used.of(scope).div_ceil(8) as u32;
            if given.contains(&scope) {
                return self.fail(Diagnostic::error(
                    "duplicate",
                    f.scope.span,
                    "these bytes are given twice",
                    "given again",
                ));
            }
            if count < needed || (!placed && needed > 0 && count != needed) {
                return self.fail(
                    Diagnostic::error(
                        "size",
                        f.bytes.span,
                        format!("the fields there take {needed} bytes, not {count}"),
                        format!("the fields take {needed}"),
                    )
                    .fix(f.bytes.span, needed.to_string()),
                );
            }
            given.push(scope);
            if let Some(bytes) = frame.bytes_mut(scope) {
                *bytes = count;
            }
        }
        for scope in Used::AROUND {
            if !given.contains(&scope)
                && let Some(bytes) = frame.bytes_mut(scope)
            {
                *bytes = used.of(scope).div_ceil(8) as u32;
            }
        }
        Ok(frame)
    }
}

fn named(scope: &Ident, after: bool) -> Scope {
    let side = if after { Side::After } else { Side::Before };
    match scope.name.as_str() {
        "row" => Scope::Row(side),
        _ => Scope::Tensor(side),
    }
}
