//! How much the squared errors of a tensor's columns matter to a search, by the name of the tensor.

use crate::Failure;
use crate::weights::Weights;
use lowbit::files::Content;
use std::collections::BTreeMap;

/// What stands behind the name of a tensor in the files of llama.cpp (an importance matrix): the sums of squares of what each
/// column was multiplied by.
const SUMS: &str = ".in_sum2";

/// The importances of each tensor that has any.
#[derive(Default)]
pub(crate) struct Importances(BTreeMap<String, Vec<f32>>);

impl Importances {
    /// Those that belong to the given tensors.
    pub(crate) fn new(
        numbers: Vec<(String, Vec<f32>)>,
        weights: &Weights,
    ) -> Result<Importances, Failure> {
        let mut all = BTreeMap::new();
        for (name, numbers) in numbers {
            let name = name.strip_suffix(SUMS).unwrap_or(&name);
            let found = weights.tensors.iter().find(|t| t.name == name);
            let Some(Content::Tensor(tensor)) = found.map(|t| &t.content) else {
                continue;
            };
            let columns = tensor.shape().last().copied().unwrap_or(1);
            if numbers.len() as u64 != columns {
                return Err(Failure::Input(format!(
                    "`{name}` has {columns} columns, but {} importances",
                    numbers.len()
                )));
            }
            all.insert(name.to_owned(), numbers);
        }
        match all.is_empty() {
            true => Err(Failure::Input(
                "none of the importances belongs to a tensor".into(),
            )),
            false => Ok(Importances(all)),
        }
    }

    /// The weights of a tensor's columns; none if they are equal.
    pub(crate) fn of(&self, tensor: &str) -> Option<&[f32]> {
        self.0.get(tensor).map(Vec::as_slice)
    }
}
