//! Tables of values: what a code is worth, and the code nearest to some values.

use super::{Codebook, Element};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// A table of one value for each code.
    pub fn scalar(entries: Vec<f32>) -> Codebook {
        Codebook { entries, width: 1 }
    }

    /// How many codes have values.
    pub fn codes(&self) -> usize {
        self.entries.len() / (self.width.max(1) as usize)
    }

    /// The values of a code; none past the end.
    pub fn entry(&self, code: u32) -> &[f32] {
        let width = self.width.max(1) as usize;
        let start = code as usize * width;
        self.entries.get(start..start + width).unwrap_or_default()
    }

    /// The table as a product over some components (ascending), if it is one.
    pub fn product(&self, components: &[u32]) -> Option<Product> {
        let column = |j: u32| (0..self.codes() as u32).map(move |c| self.entry(c)[j as usize]);
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
        for code in 0..self.codes() as u32 {
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
        let mut best = (f32::INFINITY, 0);
        let entries = self.entries.chunks_exact(self.width.max(1) as usize);
        for (code, entry) in entries.enumerate() {
            let d = distance(entry);
            if d < best.0 {
                best = (d, code as u32);
            }
        }
        best.1
    }
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
        Codebook {
            entries: entries.collect(),
            width: 5,
        }
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
        let book = Codebook {
            entries: vec![0.0, 0.0, 1.0, 1.0, 2.0, 0.0],
            width: 2,
        };
        assert_eq!(book.product(&[0, 1]), None);
        assert_eq!(book.product(&[0]).expect("a product").codes, [0, 1, 2]);
        assert_eq!(book.product(&[1]).expect("a product").codes, [0, 1]);
        assert_eq!(book.nearest(&[(0, 0.6), (1, 0.2)]), 0);
    }
}
