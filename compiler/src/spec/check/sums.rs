//! The sums of rows that a layout keeps: `kept row sums: int(32);`.

use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::sums::{cuts_sums, keeps_sums};
use crate::format::{BlockFormat, Field, FieldId, Scope};
use crate::syntax::ast;
use cranelift_entity::PrimaryMap;

/// The fields of a block, and the sums that it keeps.
type Separate = (PrimaryMap<FieldId, Field>, Option<Box<Field>>);

impl Checker<'_> {
    /// The fields without the sums that are kept, which no value is made of, and these.
    pub(super) fn kept(
        &mut self,
        fields: PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
    ) -> Checked<Separate> {
        let mut marks = declared.iter().map(|f| f.kept);
        let Some((at, span)) = (0..).zip(&mut marks).find_map(|(at, k)| Some((at, k?))) else {
            return Ok((fields, None));
        };
        let mut fields: Vec<Field> = fields.into_iter().map(|(_, f)| f).collect();
        let wrong = |text: &str| {
            let message = "a layout keeps the sum of each row, behind all fields";
            Diagnostic::error("kept", span, message, text)
                .help("write it last, for example `kept row sums: int(32);`")
        };
        if at + 1 != fields.len() || fields.len() == 1 {
            return self.fail(wrong("is not the last field"));
        }
        let kept = fields.pop().filter(|f| {
            matches!(f.scope, Scope::Row(_)) && keeps_sums(&f.element) && f.parts.len() == 1
        });
        match kept {
            Some(kept) => Ok((fields.into_iter().collect(), Some(Box::new(kept)))),
            None => self.fail(wrong("is no `int(32)` and no `f32` of a row")),
        }
    }

    /// Fails where integers would keep sums of fractions.
    pub(super) fn whole_sums(
        &mut self,
        block: &BlockFormat,
        declared: &[&ast::Field],
    ) -> Checked<()> {
        let span = declared.iter().find_map(|f| f.kept);
        let Some(span) = span.filter(|_| cuts_sums(block)) else {
            return Ok(());
        };
        let message = "an integer keeps no sum of values that may be fractions";
        self.fail(
            Diagnostic::error("kept", span, message, "is an integer")
                .help("keep it as f32: `kept row sums: f32;`"),
        )
    }
}
