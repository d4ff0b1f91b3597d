//! The order of what a block holds: codes in several parts lie in as many planes one after the other, and are put side by side
//! run by run, as a kernel reads them. Weights are then one stream of memory, which a processor fetches ahead.

use super::layout::Cut;
use crate::divisors::lcm;
use crate::format::{BlockFormat, Field, Part, Scope};

/// Puts the planes of a block side by side, run by run, if its elements have several and all of them go on run by run.
pub(super) fn in_order(block: &mut BlockFormat, cut: Cut) {
    let len = u64::from(block.len);
    let planes = |f: &Field| f.scope == Scope::Block && f.per_element() && f.parts.len() > 1;
    if !block.fields.values().any(planes) {
        return;
    }
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
    let parts = several
        .iter()
        .flat_map(|f| f.parts.iter().map(move |p| (f, p)));
    let spans = parts.map(|(field, part)| span_of(field, part, runs));
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
    let parts = several.into_iter().flat_map(|f| {
        let per_run = (f.count / runs) as usize;
        f.parts.iter_mut().map(move |p| (p, per_run))
    });
    for ((part, per_run), span) in parts.zip(&spans) {
        // Runs go on from each to the next, and with the next row from the first.
        for (run, codes) in (0..runs).cycle().zip(part.address.chunks_mut(per_run)) {
            let before = span.start + run * span.bits;
            codes
                .iter_mut()
                .for_each(|a| *a = *a - before + next + run * all);
        }
        next += span.bits;
    }
}

/// Where the codes of a part begin, and how many bits they take for a run.
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

/// The span of a part whose codes lie run by run, in whole bytes.
fn span_of(field: &Field, part: &Part, runs: u32) -> Option<Span> {
    let (start, end) = extent(part);
    let all = (end - start).next_multiple_of(8);
    let bits = all / runs;
    if !start.is_multiple_of(8) || !all.is_multiple_of(8 * runs) {
        return None;
    }
    let per_run = (field.count / runs) as usize;
    let mut by_run = (0..runs).cycle().zip(part.address.chunks(per_run));
    let in_run = |(run, codes): (u32, &[u32])| {
        let own = start + run * bits..start + (run + 1) * bits;
        codes.iter().all(|address| own.contains(address))
    };
    by_run.all(in_run).then_some(Span { start, bits })
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
        assert_eq!(packed.bytes, 16 * three_bits.bytes);
        // 16 rows of 16 elements of three bits and six more bits.
        let run = 16 * (16 * 3 + 6) / 8;
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
    fn one_plane_stays_as_it_is() {
        let four_bits = block(
            "format f = block i < 64 { s[i / 16]: uint(8); q[i]: uint(4); value = s[i / 16] * q[i]; }",
        );
        let packed = interleave(&four_bits, 16, 4, CUT);
        let mut again = packed.clone();
        in_order(&mut again, CUT);
        assert_eq!(again, packed);
        assert_eq!(bytes_of_run(&packed, 0).0, 0);
        assert!(bytes_of_run(&packed, 0).1 > 64);
    }
}
