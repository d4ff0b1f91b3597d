//! Where the bits of a block's fields lie: given by the author, or one field after another.

use super::block::{Axes, MAX_BYTES, MAX_OCCURRENCES};
use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::{Field, FieldId, Frame, Part, Scope, Side};
use crate::syntax::ast::{self, AddressKind, Addresses, Placement, Span};
use cranelift_entity::{EntityRef, PrimaryMap};

type Fields = PrimaryMap<FieldId, Field>;

/// Bits that fields take up: in the block, and around blocks.
#[derive(Clone, Copy, Default)]
pub(super) struct Used {
    /// In the block.
    pub(super) block: u64,
    around: [u64; 4],
}

impl Used {
    /// The scopes of what lies around blocks.
    pub(super) const AROUND: [Scope; 4] = [
        Scope::Row(Side::Before),
        Scope::Row(Side::After),
        Scope::Tensor(Side::Before),
        Scope::Tensor(Side::After),
    ];

    /// Those of a scope.
    pub(super) fn of(&self, scope: Scope) -> u64 {
        match Used::AROUND.iter().position(|s| *s == scope) {
            Some(at) => self.around[at],
            None => self.block,
        }
    }

    fn grow(&mut self, scope: Scope, end: u64) {
        let bits = match Used::AROUND.iter().position(|s| *s == scope) {
            Some(at) => &mut self.around[at],
            None => &mut self.block,
        };
        *bits = end.max(*bits);
    }
}

impl Checker<'_> {
    /// Gives every occurrence its addresses; returns the bits used.
    pub(super) fn place(
        &mut self,
        fields: &mut Fields,
        declared: &[&ast::Field],
        axes: &Axes<'_>,
    ) -> Checked<Used> {
        let placed = declared.iter().filter(|f| f.at.is_some()).count();
        if placed != 0
            && let (Some(with), Some(without)) = (
                declared.iter().find(|f| f.at.is_some()),
                declared.iter().find(|f| f.at.is_none()),
            )
        {
            let d = Diagnostic::error(
                "placement",
                without.name.span,
                format!(
                    "`{}` has no address, but `{}` has one",
                    without.name.name, with.name.name
                ),
                "expected `at`",
            );
            return self.fail(
                d.also(with.span, "placed here")
                    .help("place all fields, or none"),
            );
        }
        let mut used = Used::default();
        let mut addresses = 0;
        for (id, source) in fields.keys().collect::<Vec<_>>().into_iter().zip(declared) {
            let parts = match &source.at {
                None => {
                    let end = used.of(fields[id].scope);
                    vec![self.next_place(&fields[id], source, axes, end)?]
                }
                Some(Placement::Whole(a)) => {
                    let bits = fields[id].element.bits();
                    let address = self.addresses(a, &fields[id], axes)?;
                    self.in_order(a, bits, address)?
                }
                Some(Placement::Pieces(pieces, span)) => {
                    self.pieces(pieces, *span, &fields[id], axes)?
                }
            };
            addresses += parts.iter().map(|p| p.address.len()).sum::<usize>();
            if addresses > MAX_OCCURRENCES {
                return self.fail(Diagnostic::error(
                    "limit",
                    source.span,
                    format!("the codes of a block lie in more than {MAX_OCCURRENCES} places"),
                    "too many",
                ));
            }
            let last = |p: &Part| {
                let top = p.address.iter().max().copied().unwrap_or(0);
                u64::from(top) + u64::from(p.bits)
            };
            let end = parts.iter().map(last).max().unwrap_or(0);
            used.grow(fields[id].scope, end);
            self.one_address(&fields[id], &parts, source.span)?;
            fields[id].parts = parts;
        }
        Ok(used)
    }

    /// What the tensor has once lies in one place for all rows of a block.
    fn one_address(&mut self, field: &Field, parts: &[Part], span: Span) -> Checked<()> {
        let once = matches!(field.scope, Scope::Tensor(_));
        let moves = |p: &Part| p.address.windows(2).any(|a| a[0] != a[1]);
        if once && parts.iter().any(moves) {
            return self.fail(Diagnostic::error(
                "placement",
                span,
                format!("`{}` is stored once, but has several addresses", field.name),
                "must have one",
            ));
        }
        Ok(())
    }

    /// The place of a field without addresses: from the next byte on, occurrence after occurrence.
    fn next_place(
        &mut self,
        field: &Field,
        source: &ast::Field,
        axes: &Axes<'_>,
        end: u64,
    ) -> Checked<Part> {
        let (bits, count) = (field.element.bits(), u64::from(field.count * axes.rows));
        let start = end.next_multiple_of(8);
        if start + u64::from(bits) * count > 8 * MAX_BYTES as u64 {
            return self.fail(Diagnostic::error(
                "limit",
                source.span,
                format!("the block has more than {MAX_BYTES} bytes"),
                "does not fit",
            ));
        }
        let step = match field.scope {
            Scope::Tensor(_) => 0,
            Scope::Block | Scope::Row(_) => u64::from(bits),
        };
        Ok(Part {
            bits: bits as u8,
            address: (0..count).map(|o| (start + step * o) as u32).collect(),
        })
    }

    /// A code in several places, low bits first.
    fn pieces(
        &mut self,
        pieces: &[(ast::Expr, Addresses)],
        span: Span,
        field: &Field,
        axes: &Axes<'_>,
    ) -> Checked<Vec<Part>> {
        let wanted = field.element.bits();
        let mut parts = Vec::new();
        let mut total = 0;
        for (bits, addresses) in pieces {
            let bits = self.count(bits, "the bits of a piece", 1, 32)? as u32;
            let address = self.addresses(addresses, field, axes)?;
            total += bits;
            if total > wanted {
                break;
            }
            parts.extend(self.in_order(addresses, bits, address)?);
        }
        if total == wanted {
            return Ok(parts);
        }
        self.fail(Diagnostic::error(
            "size",
            span,
            format!("a code of `{}` has {wanted} bits", field.name),
            format!(
                "these pieces have {}{total}",
                if total > wanted { "at least " } else { "" }
            ),
        ))
    }

    /// Addresses in the declared order of bits, as runs from a lowest bit upwards.
    fn in_order(&mut self, a: &Addresses, bits: u32, address: Vec<u32>) -> Checked<Vec<Part>> {
        let run = |bits: u32, address: Vec<u32>| Part {
            bits: bits as u8,
            address,
        };
        if !a.msb {
            return Ok(vec![run(bits, address)]);
        }
        // bit `p` counted from the top of each byte
        let bit = |p: u32| p / 8 * 8 + 7 - p % 8;
        if address.iter().all(|p| p % 8 + bits <= 8) {
            let low = address.iter().map(|p| bit(p + bits - 1)).collect();
            return Ok(vec![run(bits, low)]);
        }
        let step = match bits.is_multiple_of(8) && address.iter().all(|p| p.is_multiple_of(8)) {
            true => 8,
            false => 1,
        };
        let piece = |n: u32| {
            let lowest = bits - 1 - n * step;
            run(step, address.iter().map(|p| bit(p + lowest)).collect())
        };
        Ok((0..bits / step).map(piece).collect())
    }

    fn addresses(&mut self, a: &Addresses, field: &Field, axes: &Axes<'_>) -> Checked<Vec<u32>> {
        let count = field.count * axes.rows;
        match &a.kind {
            AddressKind::Formula(e) => self.address_formula(e, field, axes),
            AddressKind::List(list) if list.len() != count as usize => {
                self.fail(Diagnostic::error(
                    "placement",
                    a.span,
                    format!(
                        "`{}` occurs {count} times, but {} addresses are given",
                        field.name,
                        list.len()
                    ),
                    format!("expected {count} addresses"),
                ))
            }
            AddressKind::List(list) => list
                .iter()
                .map(|e| Ok(self.count(e, "a bit address", 0, 8 * MAX_BYTES - 1)? as u32))
                .collect(),
        }
    }

    fn address_formula(
        &mut self,
        e: &ast::Expr,
        field: &Field,
        axes: &Axes<'_>,
    ) -> Checked<Vec<u32>> {
        let formula = self.formula(e, &axes.vars())?;
        self.bound_work(&formula, axes.len as usize * axes.rows as usize)?;
        let mut out: Vec<Option<(u32, u32)>> = vec![None; (field.count * axes.rows) as usize];
        let mut stack = Vec::new();
        for r in 0..axes.rows {
            for i in 0..axes.len {
                let at = |text: String| match axes.row {
                    Some(row) => {
                        format!("{text} for {} = {r}, {} = {i}", row.name, axes.element.name)
                    }
                    None => format!("{text} for {} = {i}", axes.element.name),
                };
                let v = formula.eval(&[i64::from(r), i64::from(i)], &mut stack);
                let Some(v) = v.filter(|v| (0..8 * MAX_BYTES).contains(v)) else {
                    let text = v.map_or("no number".to_string(), |v| v.to_string());
                    return self.fail(Diagnostic::error(
                        "placement",
                        e.span,
                        "a bit address lies outside of any block",
                        at(format!("comes to {text}")),
                    ));
                };
                let slot = &mut out[(r * field.count + field.occurrence[i as usize]) as usize];
                match *slot {
                    Some((old, j)) if old != v as u32 => {
                        let label = at(format!("{old} for {} = {j}, but {v}", axes.element.name));
                        return self.fail(Diagnostic::error("placement", e.span, format!("elements that share an occurrence of `{}` give it different addresses", field.name), label));
                    }
                    _ => *slot = Some((v as u32, i)),
                }
            }
        }
        Ok(out.into_iter().map(|o| o.map_or(0, |o| o.0)).collect())
    }

    /// The bytes of a block, which must hold all fields.
    pub(super) fn block_bytes(
        &mut self,
        used: u64,
        bytes: Option<(u32, Span)>,
        fields: &PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
        placed: bool,
        head: Span,
    ) -> Checked<u32> {
        let needed = used.div_ceil(8);
        let Some((given, span)) = bytes else {
            if needed > MAX_BYTES as u64 {
                return self.fail(Diagnostic::error(
                    "limit",
                    head,
                    format!("the block has more than {MAX_BYTES} bytes"),
                    format!("needs {needed}"),
                ));
            }
            return Ok(needed as u32);
        };
        if needed <= u64::from(given) && (placed || needed == u64::from(given)) {
            return Ok(given);
        }
        if placed {
            let own = |(f, _): &(&Field, &&ast::Field)| f.scope == Scope::Block;
            for (f, source) in fields.values().zip(declared).filter(own) {
                let outside = |p: &Part| {
                    let bits = u64::from(p.bits);
                    let first = p.address.iter().map(|a| u64::from(*a));
                    first
                        .map(|a| (a, a + bits - 1))
                        .find(|(_, last)| *last >= 8 * u64::from(given))
                };
                if let Some((first, last)) = f.parts.iter().find_map(outside) {
                    let place = match &source.at {
                        Some(Placement::Whole(a)) => a.span,
                        Some(Placement::Pieces(_, s)) => *s,
                        None => source.span,
                    };
                    let label = format!("puts bits {first} to {last}");
                    let d = Diagnostic::error(
                        "placement",
                        place,
                        format!("`{}` lies outside of the block", f.name),
                        label,
                    );
                    return self.fail(d.also(
                        span,
                        format!("the block ends at bit {}", 8 * u64::from(given)),
                    ));
                }
            }
        }
        let own = fields.values().filter(|f| f.scope == Scope::Block);
        let parts: Vec<String> = own
            .map(|f| format!("{} x {} bits of `{}`", f.slots(), f.element.bits(), f.name))
            .collect();
        let d = Diagnostic::error(
            "size",
            span,
            format!("the fields take {needed} bytes, not {given}"),
            format!("the fields take {needed}"),
        );
        self.fail(d.help(parts.join(", ")).fix(span, needed.to_string()))
    }

    pub(super) fn overlaps(
        &mut self,
        fields: &PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
        size: u32,
        frame: &Frame,
        axes: &Axes<'_>,
    ) -> Checked<()> {
        let mut frame = *frame;
        for scope in [Scope::Block].into_iter().chain(Used::AROUND) {
            let size = frame.bytes_mut(scope).map_or(size, |bytes| *bytes);
            self.overlaps_of(scope, fields, declared, size, axes)?;
        }
        Ok(())
    }

    fn overlaps_of(
        &mut self,
        scope: Scope,
        fields: &PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
        size: u32,
        axes: &Axes<'_>,
    ) -> Checked<()> {
        self.work = self.work.saturating_add(size as usize);
        // 0 is free, else one more than the field's number
        let mut owner = vec![0u16; size as usize * 8];
        for (id, f) in fields.iter().filter(|(_, f)| f.scope == scope) {
            // All rows of a block share what the tensor has once.
            let slots = match scope {
                Scope::Tensor(_) => 1,
                Scope::Block | Scope::Row(_) => f.slots(),
            };
            let places = f.parts.iter().flat_map(|p| {
                let addresses = p.address.iter().take(slots).enumerate();
                addresses.map(move |(s, a)| (s, a, p.bits))
            });
            for (slot, a, bits) in places {
                let range = *a as usize..*a as usize + usize::from(bits);
                let Some(owners) = owner.get_mut(range) else {
                    continue;
                };
                if let Some(other) = owners.iter().find(|b| **b != 0).copied() {
                    let other = FieldId::new(usize::from(other) - 1);
                    let place = |id: FieldId| declared[id.index()].span;
                    let occurrence = if axes.rows * f.count > 1 {
                        format!("occurrence {slot} of `{}`", f.name)
                    } else {
                        format!("`{}`", f.name)
                    };
                    let d = Diagnostic::error(
                        "overlap",
                        place(id),
                        format!("{occurrence} overlaps `{}`", fields[other].name),
                        format!("bits {a} to {}", *a + u32::from(bits) - 1),
                    );
                    return self.fail(if other == id {
                        d
                    } else {
                        d.also(place(other), "these bits are taken by this field")
                    });
                }
                owners.fill(id.index() as u16 + 1);
            }
        }
        Ok(())
    }
}
