//! Syntax errors in words: what stood there, and what was expected.

use super::ast::Span;
use super::parser::Rule;
use crate::diagnostic::{Diagnostic, nearest};
use pest::error::{ErrorVariant, InputLocation};

/// Says what was expected where the grammar stopped.
pub(super) fn syntax_error(source: &str, base: usize, e: &pest::error::Error<Rule>) -> Diagnostic {
    let at = match e.location {
        InputLocation::Pos(p) | InputLocation::Span((p, _)) => p.min(source.len()),
    };
    let rest = &source[at..];
    let word = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let len = if word > 0 {
        word
    } else {
        rest.chars().next().map_or(0, char::len_utf8)
    };
    let found = if len == 0 {
        "the end of the item".to_string()
    } else {
        format!("`{}`", rest[..len].escape_debug())
    };
    let span = if len == 0 {
        Span {
            start: base + source.len().saturating_sub(1),
            end: base + source.len(),
        }
    } else {
        Span {
            start: base + at,
            end: base + at + len,
        }
    };
    if at == 0 && len > 0 {
        let keywords = ["language", "import", "const", "format", "kernel"];
        let d = Diagnostic::error(
            "syntax",
            span,
            format!("{found} does not begin an item"),
            "expected `language`, `import`, `const`, `format` or `kernel`",
        );
        return match nearest(&rest[..len], keywords) {
            Some(n) => d.fix(span, n),
            None => d,
        };
    }
    let mut expected: Vec<&str> = Vec::new();
    if let ErrorVariant::ParsingError { positives, .. } = &e.variant {
        for r in positives {
            let n = describe(*r);
            if !n.is_empty() && !expected.contains(&n) {
                expected.push(n);
            }
        }
    }
    let semicolon = expected.contains(&"`;`");
    let label = match expected.split_last() {
        None => "not expected here".to_string(),
        Some((last, [])) => format!("expected {last}"),
        Some((last, rest)) => format!("expected {} or {last}", rest.join(", ")),
    };
    let d = Diagnostic::error(
        "syntax",
        span,
        format!("{found} is not expected here"),
        label,
    );
    let before = base + source[..at].trim_end().len();
    let new_line = source[before - base..at].contains('\n');
    if semicolon && (new_line || len == 0) {
        return d.help("a statement ends with a semicolon").fix(
            Span {
                start: before,
                end: before,
            },
            ";",
        );
    }
    d
}

fn describe(rule: Rule) -> &'static str {
    match rule {
        Rule::semi => "`;`",
        Rule::equals => "`=`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::arrow => "`->`",
        Rule::less => "`<`",
        Rule::open_paren => "`(`",
        Rule::close_paren => "`)`",
        Rule::open_bracket | Rule::subscript => "`[`",
        Rule::close_bracket => "`]`",
        Rule::open_brace => "`{`",
        Rule::close_brace => "`}`",
        Rule::ident | Rule::access | Rule::target | Rule::targets => "a name",
        Rule::number => "a number",
        Rule::string => "a quoted name",
        Rule::comparison | Rule::plus_minus | Rule::times_over => "an operator",
        Rule::expr
        | Rule::expr_sum
        | Rule::product
        | Rule::factor
        | Rule::group
        | Rule::minus
        | Rule::call
        | Rule::reduce
        | Rule::result
        | Rule::values => "an expression",
        Rule::element | Rule::codebook | Rule::kw_codebook | Rule::constructor => "an element",
        Rule::element_arg => "an argument",
        Rule::bias | Rule::kw_bias => "`bias`",
        Rule::kw_block | Rule::block => "`block`",
        Rule::bytes | Rule::kw_bytes => "`bytes`",
        Rule::frame => "the bytes around blocks",
        Rule::kw_after => "`after`",
        Rule::kw_kept => "`kept`",
        Rule::axis => "an index",
        Rule::role | Rule::param | Rule::params | Rule::outputs => {
            "`weight`, `stored`, `input` or `output`"
        }
        Rule::tables | Rule::kw_tables => "`tables`",
        Rule::statement | Rule::kw_let => "a statement",
        Rule::field | Rule::scope => "a field",
        Rule::value | Rule::kw_value => "`value`",
        Rule::encode | Rule::kw_encode => "`encode`",
        Rule::step => "an assignment",
        Rule::kw_at => "`at`",
        Rule::addresses => "addresses",
        Rule::list => "`[`",
        Rule::packed | Rule::kw_packed => "`packed`",
        Rule::kw_per => "`per`",
        Rule::illegal | Rule::kw_else => "`else`",
        Rule::piece | Rule::pieces => "bits and their addresses",
        Rule::kw_msb => "`msb`",
        Rule::quantize | Rule::kw_quantize => "`quantize`",
        Rule::kw_as => "`as`",
        Rule::EOI => "the end of the item",
        _ => "",
    }
}
