//! The formatter: one spelling for each tree. Comments keep their place between lines; one empty line is kept.

use super::ast::*;

/// Longest line before a list is broken.
const WIDTH: usize = 110;

/// The canonical text of a file.
pub fn print(file: &File) -> String {
    let mut p = Printer {
        file,
        out: String::new(),
        comment: 0,
        last: 0,
        indent: 0,
    };
    for item in &file.items {
        p.item(item);
    }
    p.comments_before(usize::MAX);
    p.out
}

struct Printer<'a> {
    file: &'a File,
    out: String,
    /// The next comment to print.
    comment: usize,
    /// Where in the source the last thing printed ended.
    last: usize,
    indent: usize,
}

impl Printer<'_> {
    fn item(&mut self, item: &Item) {
        let span = item.span();
        match item {
            Item::Language { version, .. } => {
                self.line(span, &format!("language {};", expr(version)))
            }
            Item::Import { path, .. } => self.line(span, &format!("import \"{}\";", path.name)),
            Item::Const { name, value, .. } => {
                let head = format!("const {} = ", name.name);
                let text = match value {
                    Constant::Number(e) => format!("{head}{}", expr(e)),
                    Constant::List(list, _) => numbers(&head, list, self.indent),
                };
                self.line(span, &format!("{text};"))
            }
            Item::Format {
                name,
                body: FormatBody::Element(e),
                ..
            } => {
                let text = element(e, &format!("format {} = ", name.name), self.indent);
                self.line(span, &format!("{text};"));
            }
            Item::Format {
                name,
                body: FormatBody::Block(b),
                ..
            } => self.block(span, &name.name, b),
            Item::Kernel(k) => self.kernel(k),
        }
    }

    fn block(&mut self, span: Span, name: &str, b: &Block) {
        let mut head: Vec<String> = b
            .axes
            .iter()
            .map(|(n, e)| format!("{} < {}", n.name, expr(e)))
            .collect();
        head.extend(b.bytes.iter().map(|e| format!("bytes {}", expr(e))));
        head.extend(b.frame.iter().map(|f| {
            let after = if f.after { " after" } else { "" };
            format!("{}{after} bytes {}", f.scope.name, expr(&f.bytes))
        }));
        let frame = b.frame.last().map(|f| &f.bytes);
        let head_end = frame
            .or(b.bytes.as_ref())
            .or(b.axes.last().map(|a| &a.1))
            .map_or(span.start, |e| e.span.end);
        self.line(
            Span {
                start: span.start,
                end: head_end,
            },
            &format!("format {name} = block {} {{", head.join(", ")),
        );
        self.indent += 1;
        for m in &b.members {
            match m {
                Member::Field(f) => self.line(f.span, &field(f, self.indent)),
                Member::Value { value, span } => {
                    self.line(*span, &format!("value = {};", expr(value)))
                }
                Member::Encode { var, steps, span } => {
                    self.line(
                        Span {
                            start: span.start,
                            end: var.span.end,
                        },
                        &format!("encode {} {{", var.name),
                    );
                    self.indent += 1;
                    for s in steps {
                        let text = format!(
                            "{}{}{} = {};",
                            if s.is_let { "let " } else { "" },
                            s.name.name,
                            subscript(&s.subscript),
                            expr(&s.value)
                        );
                        self.line(s.span, &text);
                    }
                    self.close(span.end);
                }
            }
        }
        self.close(span.end);
    }

    fn kernel(&mut self, k: &Kernel) {
        let params: Vec<String> = k.params.iter().map(param).collect();
        let outputs: Vec<String> = k.outputs.iter().map(param).collect();
        let result = if let [one] = outputs.as_slice() {
            one.clone()
        } else {
            format!("({})", outputs.join(", "))
        };
        let tables = k.tables.as_ref();
        let result = match tables {
            Some(kind) => format!("{result} tables {}", kind.name),
            None => result,
        };
        let mut head = format!(
            "kernel {}({}) -> {result} {{",
            k.name.name,
            params.join(", ")
        );
        if head.len() > WIDTH {
            let params: String = params.iter().map(|p| format!("    {p},\n")).collect();
            head = format!("kernel {}(\n{params}) -> {result} {{", k.name.name);
        }
        let outputs_end = k.outputs.last().map(|p| p.span.end);
        let head_end = tables.map(|t| t.span.end).or(outputs_end);
        let head_end = head_end.unwrap_or(k.name.span.end);
        self.line(
            Span {
                start: k.span.start,
                end: head_end,
            },
            &head,
        );
        self.indent += 1;
        for s in &k.statements {
            let targets: Vec<String> = s
                .targets
                .iter()
                .map(|t| format!("{}{}", t.name.name, subscript(&t.subscript)))
                .collect();
            let values: Vec<String> = s
                .values
                .iter()
                .map(|v| match &v.quantize {
                    Some(f) => format!("quantize {} as {}", expr(&v.expr), f.name),
                    None => expr(&v.expr),
                })
                .collect();
            let head = if s.is_let { "let " } else { "" };
            self.line(
                s.span,
                &format!("{head}{} = {};", targets.join(", "), values.join(", ")),
            );
        }
        self.close(k.span.end);
    }

    /// Prints a line for the source at `span`, with the comments that stand before it and behind it.
    fn line(&mut self, span: Span, text: &str) {
        self.comments_before(span.start);
        self.empty_line(span.start);
        self.push(text);
        self.last = span.end;
        self.trailing();
    }

    fn close(&mut self, end: usize) {
        self.comments_before(end);
        self.indent -= 1;
        self.push("}");
        self.last = end;
        self.trailing();
    }

    fn push(&mut self, text: &str) {
        let pad = "    ".repeat(self.indent);
        for line in text.split('\n') {
            self.out.push_str(&pad);
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn comments_before(&mut self, place: usize) {
        while let Some(c) = self
            .file
            .comments
            .get(self.comment)
            .filter(|c| c.span.start < place)
        {
            self.empty_line(c.span.start);
            self.push(&c.text);
            self.last = c.span.end;
            self.comment += 1;
        }
    }

    /// A comment behind what was just printed stays on its line.
    fn trailing(&mut self) {
        if let Some(c) = self
            .file
            .comments
            .get(self.comment)
            .filter(|c| !c.own_line && self.follows(c.span.start))
        {
            self.out.pop();
            self.out.push_str("  ");
            self.out.push_str(&c.text);
            self.out.push('\n');
            self.last = c.span.end;
            self.comment += 1;
        }
    }

    /// Whether no other node lies between the last thing printed and `place`.
    fn follows(&self, place: usize) -> bool {
        place < self.next_node()
    }

    fn next_node(&self) -> usize {
        let mut next = usize::MAX;
        let mut see = |s: usize| {
            if s >= self.last {
                next = next.min(s);
            }
        };
        for item in &self.file.items {
            see(item.span().start);
            match item {
                Item::Format {
                    body: FormatBody::Block(b),
                    span,
                    ..
                } => {
                    see(span.end.saturating_sub(1));
                    for m in &b.members {
                        see(m.span().start);
                        if let Member::Encode { steps, span, .. } = m {
                            see(span.end.saturating_sub(1));
                            steps.iter().for_each(|s| see(s.span.start));
                        }
                    }
                }
                Item::Kernel(k) => {
                    see(k.span.end.saturating_sub(1));
                    k.statements.iter().for_each(|s| see(s.span.start));
                }
                Item::Language { .. }
                | Item::Import { .. }
                | Item::Const { .. }
                | Item::Format { .. } => {}
            }
        }
        next
    }

    /// Keeps one empty line if the source has any between the last thing printed and `place`.
    fn empty_line(&mut self, place: usize) {
        let from = self.file.blank_lines.partition_point(|b| *b < self.last);
        let blank = self.file.blank_lines.get(from).is_some_and(|b| *b < place);
        if blank && !self.out.is_empty() && !self.out.ends_with("{\n") {
            self.out.push('\n');
        }
    }
}

fn field(f: &Field, indent: usize) -> String {
    let scope = f
        .scope
        .as_ref()
        .map(|s| format!("{} ", s.name))
        .unwrap_or_default();
    let kept = f.kept.map_or("", |_| "kept ");
    let head = format!("{kept}{scope}{}{}: ", f.name.name, subscript(&f.subscript));
    let mut text = element(&f.element, &head, indent);
    if f.after.is_some() {
        text += " after";
    }
    match &f.at {
        None => format!("{text};"),
        Some(Placement::Whole(a)) => {
            format!("{};", addresses(&format!("{text} at "), a, indent))
        }
        Some(Placement::Pieces(pieces, _)) => {
            let piece = |(bits, a): &(Expr, Addresses)| {
                addresses(&format!("{}: ", expr(bits)), a, indent + 1)
            };
            let pieces: Vec<String> = pieces.iter().map(piece).collect();
            let one = format!("{text} at ({});", pieces.join(", "));
            if one.len() + 4 * indent <= WIDTH {
                return one;
            }
            let lines = pieces.join(",\n").replace('\n', "\n    ");
            format!("{text} at (\n    {lines}\n);")
        }
    }
}

/// Addresses after `head`.
fn addresses(head: &str, a: &Addresses, indent: usize) -> String {
    let order = if a.msb { "msb " } else { "" };
    match &a.kind {
        AddressKind::Formula(e) => format!("{head}{order}{}", expr(e)),
        AddressKind::List(list) => numbers(&format!("{head}{order}"), list, indent),
    }
}

/// The element after `head`.
fn element(e: &Element, head: &str, indent: usize) -> String {
    match e {
        Element::Name(n) => format!("{head}{}", n.name),
        Element::Call {
            head: name,
            args,
            packed,
            ..
        } => {
            let args: Vec<String> = args
                .iter()
                .map(|a| match a {
                    ElementArg::Value(e) => expr(e),
                    ElementArg::Bias(e) => format!("bias {}", expr(e)),
                })
                .collect();
            let packed = packed.as_deref().map_or(String::new(), |(count, bits)| {
                format!(" packed {} per {}", expr(count), expr(bits))
            });
            format!("{head}{}({}){packed}", name.name, args.join(", "))
        }
        Element::Codebook { axes, values, .. } => {
            let axis = |(name, extent): &(Ident, Expr)| format!("{} < {}", name.name, expr(extent));
            let axes: Vec<String> = axes.iter().map(axis).collect();
            let colon = if axes.is_empty() { "" } else { ": " };
            let head = format!("{head}codebook {}{colon}", axes.join(", "));
            match values {
                CodebookValues::List(entries) => numbers(&head, entries, indent),
                CodebookValues::Formula(e) => format!("{head}{}", expr(e)),
            }
        }
        Element::Else { of, worth, .. } => {
            format!("{} else {}", element(of, head, indent), expr(worth))
        }
    }
}

/// A list in brackets, broken into lines if it is long.
fn numbers(head: &str, list: &[Expr], indent: usize) -> String {
    let texts: Vec<String> = list.iter().map(expr).collect();
    let one = format!("{head}[{}]", texts.join(", "));
    if one.len() + 4 * indent <= WIDTH {
        return one;
    }
    let mut out = format!("{head}[");
    let mut column = WIDTH;
    for t in &texts {
        if column + t.len() + 2 > WIDTH - 4 * indent {
            out.push_str("\n    ");
            column = 4;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(t);
        out.push(',');
        column += t.len() + 1;
    }
    out.push_str("\n]");
    out
}

fn param(p: &Param) -> String {
    let shape = if p.shape.is_empty() {
        String::new()
    } else {
        subscript(&p.shape)
    };
    format!("{} {}: {}{shape}", p.role.name, p.name.name, p.format.name)
}

fn subscript(list: &[Expr]) -> String {
    if list.is_empty() {
        return String::new();
    }
    format!("[{}]", list.iter().map(expr).collect::<Vec<_>>().join(", "))
}

/// An expression with no more parentheses than it needs.
pub(crate) fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Number(t) | ExprKind::Name(t) => t.clone(),
        ExprKind::Index(n, list) => format!(
            "{}[{}]",
            n.name,
            list.iter().map(expr).collect::<Vec<_>>().join(", ")
        ),
        ExprKind::Call(n, list) => format!(
            "{}({})",
            n.name,
            list.iter().map(expr).collect::<Vec<_>>().join(", ")
        ),
        ExprKind::Neg(a) => match &a.kind {
            ExprKind::Binary(..) => format!("-({})", expr(a)),
            _ => format!("-{}", expr(a)),
        },
        ExprKind::Binary(op, a, b) => {
            let level = op.level();
            let left = match &a.kind {
                ExprKind::Binary(o, ..) if o.level() < level || level == 0 => true,
                _ => level == 2 && ends_open(a),
            };
            // a reduction as a factor does not need its parentheses, but its readers do
            let right = match &b.kind {
                ExprKind::Binary(o, ..) => o.level() <= level,
                ExprKind::Reduce(..) => level == 2,
                _ => false,
            };
            format!(
                "{} {} {}",
                wrap(expr(a), left),
                op.text(),
                wrap(expr(b), right)
            )
        }
        ExprKind::Reduce(n, binders, body) => {
            let names: Vec<&str> = binders.iter().map(|b| b.name.as_str()).collect();
            let text = expr(body);
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            // Words that would end the expression instead.
            let group = text.starts_with('-')
                || matches!(words.next(), Some("as" | "else"))
                || matches!(&body.kind, ExprKind::Binary(o, ..) if o.level() < 2);
            format!("{}({}) {}", n.name, names.join(", "), wrap(text, group))
        }
    }
}

fn wrap(text: String, group: bool) -> String {
    if group { format!("({text})") } else { text }
}

/// Whether a reduction at the end of `e` would swallow a factor that follows.
fn ends_open(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Reduce(..) => true,
        ExprKind::Neg(a) => ends_open(a),
        ExprKind::Binary(op, _, b) => op.level() == 2 && ends_open(b),
        ExprKind::Number(_) | ExprKind::Name(_) | ExprKind::Index(..) | ExprKind::Call(..) => false,
    }
}
