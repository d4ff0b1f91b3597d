//! Tables of values: what a code is worth, and the code nearest to some values.

use super::{Codebook, Element};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the codes are that a table has no values for, though its bits can count to them.
#[derive(Clone, Copy, Debug)]
pub enum Illegal {
    /// All their values are this number, or a NaN.
    Worth(f32),
    /// Bytes that hold one are refused. Where nothing looks at them (past the end of a row) they are worth what the first
    /// legal code is.
    Refused,
}

impl PartialEq for Illegal {
    fn eq(&self, other: &Illegal) -> bool {
        match (self, other) {
            (Illegal::Worth(a), Illegal::Worth(b)) => a.to_bits() == b.to_bits(),
            (Illegal::Refused, Illegal::Refused) => true,
            (Illegal::Worth(_), Illegal::Refused) | (Illegal::Refused, Illegal::Worth(_)) => false,
        }
    }
}

impl PartialEq for Codebook {
    fn eq(&self, other: &Codebook) -> bool {
        let bits = |v: &f32| v.to_bits();
        (self.width, self.illegal, &self.holes) == (other.width, other.illegal, &other.holes)
            && self
                .entries
                .iter()
                .map(bits)
                .eq(other.entries.iter().map(bits))
    }
}

/// A codebook whose codes give some of their components every combination of some values: digits of a mixed radix, for
/// example. The nearest code is then found component by component.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The components, ascending, each with its values, ascending.
    pub values: Vec<(u32, Arc<Codebook>)>,
    /// The lowest code of each combination; the ranks of the first component's values count fastest.
    pub codes: Vec<u32>,
}

impl Codebook {
    /// A table of one value for each code; codes past the end are worth 0.
    pub fn scalar(entries: Vec<f32>) -> Codebook {
        Codebook::of(entries, 1)
    }

    /// A table of so many values for each code; codes past the end are worth 0.
    pub fn of(entries: Vec<f32>, width: u32) -> Codebook {
        Codebook {
            entries,
            width,
            holes: Vec::new(),
            illegal: Illegal::Worth(0.0),
        }
    }

    /// The same table without some of its codes (ascending): they are illegal. Those at the end are cut off, as long as a code
    /// keeps its bits.
    pub fn with_holes(mut self, holes: Vec<u32>) -> Codebook {
        let bits = self.bits();
        let mut codes = self.codes();
        self.holes = holes;
        while codes > 1
            && bits_of(codes - 1) == bits
            && self.holes.last().is_some_and(|h| *h as usize + 1 == codes)
        {
            codes -= 1;
            self.holes.pop();
        }
        self.entries.truncate(codes * self.width as usize);
        let illegal = self.illegal;
        self.with_illegal(illegal)
    }

    /// The same table with other illegal codes.
    pub fn with_illegal(mut self, illegal: Illegal) -> Codebook {
        self.illegal = illegal;
        let width = self.width as usize;
        for hole in self.holes.clone() {
            for j in 0..self.width {
                self.entries[hole as usize * width + j as usize] = self.other(j);
            }
        }
        self
    }

    /// How many codes the table lists: all legal ones are below.
    pub fn codes(&self) -> usize {
        self.entries.len() / (self.width.max(1) as usize)
    }

    /// Bits of a code: the fewest that count all codes.
    pub fn bits(&self) -> u32 {
        bits_of(self.codes())
    }

    /// Whether there are codes without values.
    pub fn has_illegal(&self) -> bool {
        !self.holes.is_empty() || self.codes() < 1 << self.bits()
    }

    /// Whether a code has values.
    pub fn is_legal(&self, code: u32) -> bool {
        (code as usize) < self.codes() && self.holes.binary_search(&code).is_err()
    }

    /// The codes that have values.
    pub fn legal(&self) -> impl Iterator<Item = u32> {
        (0..self.codes() as u32).filter(|c| self.holes.binary_search(c).is_err())
    }

    /// The values, code after code, with NaNs for the illegal ones, to which no number is near.
    pub fn legal_entries(&self) -> Vec<f32> {
        let mut entries = self.entries.clone();
        let width = self.width as usize;
        for hole in &self.holes {
            entries[*hole as usize * width..][..width].fill(f32::NAN);
        }
        entries
    }

    /// What a component of a code is worth, of legal and of other codes.
    pub fn worth(&self, code: u32, component: u32) -> f32 {
        let value = self.entry(code).get(component as usize);
        value.copied().unwrap_or_else(|| self.other(component))
    }

    /// Whether the highest bit of a code is the sign of all its values.
    pub fn is_mirrored(&self) -> bool {
        let half = 1 << (self.bits().max(1) - 1);
        let opposite = |c: u32, j: u32| self.worth(c + half, j) == -self.worth(c, j);
        (0..half).all(|c| (0..self.width).all(|j| opposite(c, j)))
    }

    /// What a component of an illegal code is worth.
    fn other(&self, component: u32) -> f32 {
        let first = || {
            self.entry(self.legal().next()?)
                .get(component as usize)
                .copied()
        };
        match self.illegal {
            Illegal::Worth(v) => v,
            Illegal::Refused => first().unwrap_or(0.0),
        }
    }

    /// The values of a code; none past the end.
    pub fn entry(&self, code: u32) -> &[f32] {
        let width = self.width.max(1) as usize;
        let start = code as usize * width;
        self.entries.get(start..start + width).unwrap_or_default()
    }

    /// The table as a product over some components (ascending), if it is one.
    pub fn product(&self, components: &[u32]) -> Option<Product> {
        let column = |j: u32| self.legal().map(move |c| self.entry(c)[j as usize]);
        let mut values = Vec::new();
        let mut combinations = 1usize;
        for j in components.iter().copied().filter(|j| *j < self.width) {
            let mut distinct: Vec<f32> = column(j).collect();
            distinct.sort_by(f32::total_cmp);
            distinct.dedup();
            combinations = combinations.checked_mul(distinct.len())?;
            values.push((j, Arc::new(Codebook::scalar(distinct))));
        }
        if combinations > self.codes() {
            return None;
        }
        let mut codes = BTreeMap::new();
        for code in self.legal() {
            codes.entry(rank(&values, self.entry(code))).or_insert(code);
        }
        (codes.len() == combinations).then(|| Product {
            values,
            codes: codes.into_values().collect(),
        })
    }

    /// The code nearest to the values that some components should have, by the sum of squares; the lowest of equals.
    pub fn nearest(&self, wanted: &[(u32, f32)]) -> u32 {
        let distance = |entry: &[f32]| {
            wanted.iter().fold(0.0f32, |sum, (at, x)| {
                let d = entry.get(*at as usize).copied().unwrap_or(0.0) - x;
                sum + d * d
            })
        };
        let mut best = (f32::INFINITY, self.legal().next().unwrap_or(0));
        for code in self.legal() {
            let d = distance(self.entry(code));
            if d < best.0 {
                best = (d, code);
            }
        }
        best.1
    }
}

/// The fewest bits that count so many codes, at least 1.
fn bits_of(codes: usize) -> u32 {
    usize::BITS - (codes.max(2) - 1).leading_zeros()
}

/// The combination that an entry has, in the order of [`Product::codes`].
fn rank(values: &[(u32, Arc<Codebook>)], entry: &[f32]) -> usize {
    values.iter().rev().fold(0, |rank, (j, book)| {
        let at = book.entries.iter().position(|v| *v == entry[*j as usize]);
        rank * book.entries.len() + at.unwrap_or(0)
    })
}

impl Product {
    /// The code nearest to the values wanted, which go with the components in order: each the nearest of its component,
    /// of equals the smaller.
    pub fn nearest(&self, wanted: &[f32]) -> u32 {
        let components = self.values.iter().zip(wanted).rev();
        let rank = components.fold(0, |rank, ((_, book), x)| {
            let at = Element::Codebook(book.clone()).encode(*x);
            rank * book.entries.len() + at as usize
        });
        self.codes.get(rank).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> Codebook {
        let digit = |c: u32, j: u32| (c / 3u32.pow(j) % 3) as f32;
        let entries = (0..256).flat_map(|c| (0..5).map(move |j| digit(c, j)));
        Codebook::of(entries.collect(), 5)
    }

    #[test]
    fn digits_are_a_product_and_the_lowest_code_is_found() {
        let product = digits().product(&[0, 1, 2, 3, 4]).expect("a product");
        assert_eq!(product.codes.len(), 243);
        for code in 0..243u32 {
            let entry = digits().entry(code).to_vec();
            assert_eq!(product.nearest(&entry), code);
            let wanted: Vec<(u32, f32)> = (0..).zip(entry).collect();
            assert_eq!(digits().nearest(&wanted), code);
        }
        assert_eq!(
            product.nearest(&[2.4, -7.0, f32::NAN, 9.0, 0.5]),
            2 + 2 * 27
        );
    }

    #[test]
    fn some_components_of_a_table_may_be_a_product() {
        let book = Codebook::of(vec![0.0, 0.0, 1.0, 1.0, 2.0, 0.0], 2);
        assert_eq!(book.product(&[0, 1]), None);
        assert_eq!(book.product(&[0]).expect("a product").codes, [0, 1, 2]);
        assert_eq!(book.product(&[1]).expect("a product").codes, [0, 1]);
        assert_eq!(book.nearest(&[(0, 0.6), (1, 0.2)]), 0);
    }
}
