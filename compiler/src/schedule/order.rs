//! The order of what a block holds: codes in several parts, and what several elements share, lie in as many planes one after the
//! other, and are put side by side run by run, as a kernel reads them. Weights are then one stream of memory, which a processor
//! fetches ahead.

use super::layout::Cut;
use crate::divisors::lcm;
use crate::format::{BlockFormat, Field, Part, Scope};

/// Puts the planes of a block side by side, run by run, if there are several and all of them go on run by run.
pub(super) fn in_order(block: &mut BlockFormat, cut: Cut) {
    let len = u64::from(block.len);
    let (once, several): (Vec<&mut Field>, Vec<&mut Field>) = block
        .fields
        .values_mut()
        .filter(|f| f.scope == Scope::Block)
        .partition(|f| f.count == 1);
    let longer = |run: u64, f: &&mut Field| Some(lcm(run, f.run()?.into()));
    let run = several.iter().try_fold(cut.span, longer);
    let Some(run) = run.filter(|run| len.is_multiple_of(*run) && *run < len) else {
        return;
    };
    let runs = (len / run) as u32;
    let mut several: Vec<Plane<'_>> = several.into_iter().flat_map(planes_of).collect();
    if several.len() < 2 {
        return;
    }
    let spans = several.iter().map(|plane| plane.span(runs));
    let Some(spans) = spans.collect::<Option<Vec<Span>>>() else {
        return;
    };
    // What the block has once is before all runs.
    let mut next = 0;
    for part in once.into_iter().flat_map(|f| &mut f.parts) {
        let (start, end) = extent(part);
        part.address.iter_mut().for_each(|a| *a = *a - start + next);
        next = (next + end - start).next_multiple_of(8);
    }
    let all: u32 = spans.iter().map(|s| s.bits).sum();
    for (plane, span) in several.iter_mut().zip(&spans) {
        let per_run = plane.per_run(runs);
        for part in &mut plane.parts {
            // Runs go on from each to the next, and with the next row from the first.
            for (run, codes) in (0..runs).cycle().zip(part.address.chunks_mut(per_run)) {
                let before = span.start + run * span.bits;
                codes
                    .iter_mut()
                    .for_each(|a| *a = *a - before + next + run * all);
            }
        }
        next += span.bits;
    }
}

/// Parts of the codes of a field that have bytes of their own.
struct Plane<'a> {
    /// Codes of a row.
    count: u32,
    parts: Vec<&'a mut Part>,
}

/// The planes of a field: each of its parts, or all together where they share bytes.
fn planes_of(field: &mut Field) -> Vec<Plane<'_>> {
    let count = field.count;
    let mut ends: Vec<(u32, u32)> = field.parts.iter().map(extent).collect();
    ends.sort_unstable();
    let apart = ends.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    let parts = field.parts.iter_mut();
    match apart {
        true => parts
            .map(|part| Plane {
                count,
                parts: vec![part],
            })
            .collect(),
        false => vec![Plane {
            count,
            parts: parts.collect(),
        }],
    }
}

/// Where the codes of a plane begin, and how many bits they take for a run.
struct Span {
    start: u32,
    bits: u32,
}

/// Where the bits of a part begin and end.
fn extent(part: &Part) -> (u32, u32) {
    let start = part.address.iter().min().copied().unwrap_or(0);
    let last = part.address.iter().max().copied().unwrap_or(start);
    (start, last + u32::from(part.bits))
}

impl Plane<'_> {
    /// Codes of a run of a row.
    fn per_run(&self, runs: u32) -> usize {
        (self.count / runs) as usize
    }

    /// The span of a plane whose codes lie run by run, in whole bytes.
    fn span(&self, runs: u32) -> Option<Span> {
        let extents = self.parts.iter().map(|part| extent(part));
        let (start, end) = extents.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let all = (end - start).next_multiple_of(8);
        let bits = all / runs;
        if !start.is_multiple_of(8) || !all.is_multiple_of(8 * runs) {
            return None;
        }
        let in_run = |(run, codes): (u32, &[u32])| {
            let own = start + run * bits..start + (run + 1) * bits;
            codes.iter().all(|address| own.contains(address))
        };
        let per_run = self.per_run(runs);
        let by_run = |part: &Part| {
            let mut runs = (0..runs).cycle().zip(part.address.chunks(per_run));
            runs.all(in_run)
        };
        let whole = self.parts.iter().all(|part| by_run(part));
        whole.then_some(Span { start, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::in_order;
    use crate::format::{BlockFormat, FormatKind};
    use crate::schedule::layout::{Cut, interleave};
    use crate::spec::load;

    const CUT: Cut = Cut {
        lanes: 4,
        joint: 1,
        copies: 4,
        span: 16,
        beside: 1,
    };

    fn block(text: &str) -> BlockFormat {
        let module = load("test", &format!("language 1; {text}"), &|_| None).expect(text);
        match &module.formats.last().expect("a format").kind {
            FormatKind::Block(block) => block.clone(),
            FormatKind::Plain(_) => panic!("{text}"),
        }
    }

    /// The first and the last byte that a run of elements has for itself, in all rows.
    fn bytes_of_run(block: &BlockFormat, run: u32) -> (u32, u32) {
        let several = block.fields.values().filter(|f| f.count > 1);
        let bytes = several.flat_map(|f| {
            let per_run = f.count / (block.len / 16);
            f.parts.iter().flat_map(move |p| {
                let all = p.address.iter().enumerate();
                let own = all.filter(move |(at, _)| *at as u32 % f.count / per_run == run);
                own.map(|(_, address)| address / 8)
            })
        });
        bytes.fold((u32::MAX, 0), |(low, high), b| (low.min(b), high.max(b)))
    }

    #[test]
    fn planes_lie_side_by_side_run_by_run() {
        let three_bits = block(
            "format f = block i < 64 { d: f16; s[i / 16]: uint(6); q[i]: uint(3); value = d * s[i / 16] * q[i]; }",
        );
        let packed = interleave(&three_bits, 16, 4, CUT);
        // Four scales of six bits have bytes of their own.
        assert_eq!(packed.bytes, 16 * (three_bits.bytes + 1));
        // 16 rows of 16 elements of three bits and a byte.
        let run = 16 * (16 * 3 + 8) / 8;
        for at in 0..4 {
            let first = 16 * 2 + at * run;
            assert_eq!(bytes_of_run(&packed, at), (first, first + run - 1));
        }
    }

    #[test]
    fn no_bit_is_taken_twice() {
        let mixed = block(
            "format f = block i < 64 { d: f32; s[i / 16]: uint(6); e: f16; m[i]: uint(3); n: uint(4); q[i]: uint(1);
             value = d * q[i] * s[i / 16] - m[i] * e * n; }",
        );
        let packed = interleave(&mixed, 16, 4, CUT);
        let mut bits = std::collections::BTreeSet::new();
        for part in packed.fields.values().flat_map(|f| &f.parts) {
            for bit in part
                .address
                .iter()
                .flat_map(|a| *a..a + u32::from(part.bits))
            {
                assert!(bit < 8 * packed.bytes && bits.insert(bit), "{bit}");
            }
        }
    }

    #[test]
    fn what_elements_share_lies_beside_them() {
        let four_bits = block(
            "format f = block i < 64 { s[i / 16]: uint(8); q[i]: uint(4); value = s[i / 16] * q[i]; }",
        );
        let packed = interleave(&four_bits, 16, 4, CUT);
        let run = 16 * (16 * 4 + 8) / 8;
        for at in 0..4 {
            let own = (at * run, (at + 1) * run - 1);
            assert_eq!(bytes_of_run(&packed, at), own);
        }
        let alone = block("format f = block i < 64 { q[i]: uint(4); value = q[i]; }");
        let packed = interleave(&alone, 16, 4, CUT);
        let mut again = packed.clone();
        in_order(&mut again, CUT);
        assert_eq!(again, packed);
    }
}
