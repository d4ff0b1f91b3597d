//! Normal form of a kernel: what a statement becomes before it is placed.
//!
//! - Sums with the same extent beside each other share one index, so that they share one pass (binders of the checked kernel
//!   are unique).
//! - A reduction that lies within another, or that does not depend on all result indices, becomes an intermediate of its own.
//! - A tensor that is read at `k / 32` alone is a tensor of blocks of 32 that is read at `k`.
//! - A quantised result is computed into an f32 intermediate and encoded from there, unless it is such a tensor already.
//! - A result that is another layout of a tensor is moved from there.

use super::views::stretched;
use crate::format::element::F32;
use crate::format::{Element, Format, FormatKind};
use crate::spec::kernel::{
    Expr, ExprId, Extent, IndexId, Kernel, Role, Statement, Store, Subscript, Target, Tensor,
    TensorId,
};
use cranelift_entity::{PrimaryMap, SecondaryMap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A step of a normal kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Computes plain results.
    Compute(Statement),
    /// Encodes a plain f32 tensor into a block format.
    Encode {
        /// What is encoded.
        source: TensorId,
        /// Where to.
        target: TensorId,
    },
    /// Copies a plain tensor into one whose rows go on with zeros.
    Fill {
        /// What is copied.
        source: TensorId,
        /// Where to.
        target: TensorId,
    },
    /// Moves the codes of a tensor into another layout of the same fields.
    Relayout {
        /// Whose codes are moved.
        source: TensorId,
        /// Where to.
        target: TensorId,
    },
}

impl Step {
    /// The statement of a step that computes.
    pub fn statement(&self) -> Option<&Statement> {
        match self {
            Step::Compute(statement) => Some(statement),
            Step::Encode { .. } | Step::Fill { .. } | Step::Relayout { .. } => None,
        }
    }
}

/// A kernel in normal form. Its tensors are those of the original, with intermediates after them.
#[derive(Clone, Debug, PartialEq)]
pub struct Normal {
    /// The kernel; its statements are not used any more.
    pub kernel: Kernel,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// By how much elements of a tensor were stretched: how many positions of its last axis now read one of them. 0 where
    /// tensors are as they were declared.
    pub stretch: SecondaryMap<TensorId, u64>,
}

struct Normalizer<'k> {
    old: &'k Kernel,
    new: Kernel,
    steps: Vec<Step>,
}

/// Brings a kernel to normal form.
pub fn normalize(kernel: &Kernel) -> Normal {
    let mut new = kernel.clone();
    new.exprs = PrimaryMap::new();
    new.statements = Vec::new();
    let mut normalizer = Normalizer {
        old: kernel,
        new,
        steps: Vec::new(),
    };
    for statement in &kernel.statements {
        normalizer.statement(statement);
    }
    let mut kernel = normalizer.new;
    let stretch = stretch(&mut kernel);
    Normal {
        kernel,
        steps: normalizer.steps,
        stretch,
    }
}

/// Stretches the formats of tensors that are read at one quotient of an index along their last axis, and nowhere else.
fn stretch(kernel: &mut Kernel) -> SecondaryMap<TensorId, u64> {
    let mut stretch = SecondaryMap::new();
    for (id, tensor) in kernel.tensors.iter_mut() {
        let given = matches!(tensor.role, Role::Weight | Role::Stored | Role::Input);
        let loads = kernel.exprs.values().filter_map(|e| match e {
            Expr::Load(t, subscripts) if *t == id => Some(subscripts.last()),
            _ => None,
        });
        let mut divisors = loads.map(|last| match last {
            Some(Subscript::Quotient(index, by)) => Some((*index, *by)),
            _ => None,
        });
        let Some(Some((index, by))) = divisors.next() else {
            continue;
        };
        let same = divisors.all(|d| d.map(|d| d.1) == Some(by));
        let gathered = kernel.exprs.values().any(|e| gathers(e, id));
        let Some(last) = tensor.shape.last_mut() else {
            continue;
        };
        if given
            && same
            && !gathered
            && let Some(format) = stretched(&tensor.format, by)
        {
            tensor.format = format;
            *last = kernel.indices[index].extent;
            stretch[id] = by;
        }
    }
    for expr in kernel.exprs.values_mut() {
        if let Expr::Load(tensor, subscripts) = expr
            && stretch[*tensor] > 0
            && let Some(Subscript::Quotient(index, _)) = subscripts.last().cloned()
            && let Some(last) = subscripts.last_mut()
        {
            *last = Subscript::Index(index);
        }
    }
    stretch
}

/// Whether a tensor gives positions.
fn gathers(expr: &Expr, tensor: TensorId) -> bool {
    fn within(subscript: &Subscript, tensor: TensorId) -> bool {
        match subscript {
            Subscript::Gather(t, inner) => *t == tensor || inner.iter().any(|s| within(s, tensor)),
            Subscript::Index(_) | Subscript::Quotient(..) | Subscript::Const(_) => false,
        }
    }
    matches!(expr, Expr::Load(_, subscripts) if subscripts.iter().any(|s| within(s, tensor)))
}

impl Normalizer<'_> {
    fn statement(&mut self, statement: &Statement) {
        let outputs: BTreeSet<IndexId> = statement.targets[0].index.iter().copied().collect();
        let shared = self.shared_indices(statement);
        let mut plain = Vec::new();
        // What takes a tensor as it stands, after the statement.
        let mut whole = Vec::new();
        for target in &statement.targets {
            let value = self.rebuild(target.value, &shared, &outputs, false);
            match (target.store, &self.new.exprs[value]) {
                (Store::Quantized, _) => {}
                (Store::Codes, Expr::Load(source, _)) => {
                    whole.push(Step::Relayout {
                        source: *source,
                        target: target.tensor,
                    });
                    continue;
                }
                (Store::Codes | Store::Number, _) => {
                    plain.push(Target {
                        value,
                        ..target.clone()
                    });
                    continue;
                }
            }
            let source = match self.plain_source(value, &target.index) {
                Some(source) => source,
                None => {
                    let source = self.local(
                        &target.index,
                        &format!("{}.f32", self.old.tensors[target.tensor].name),
                    );
                    plain.push(Target {
                        tensor: source,
                        index: target.index.clone(),
                        value,
                        store: Store::Number,
                    });
                    source
                }
            };
            whole.push(Step::Encode {
                source,
                target: target.tensor,
            });
        }
        if !plain.is_empty() {
            self.steps.push(Step::Compute(Statement { targets: plain }));
        }
        self.steps.extend(whole);
    }

    /// A value that is a whole f32 tensor as it stands.
    fn plain_source(&self, value: ExprId, index: &[IndexId]) -> Option<TensorId> {
        let Expr::Load(tensor, subscripts) = &self.new.exprs[value] else {
            return None;
        };
        let whole = subscripts.len() == index.len()
            && subscripts
                .iter()
                .zip(index)
                .all(|(s, i)| *s == Subscript::Index(*i))
            && self.new.tensors[*tensor].shape
                == index
                    .iter()
                    .map(|i| self.new.indices[*i].extent)
                    .collect::<Vec<_>>();
        (whole && is_f32(&self.new.tensors[*tensor].format)).then_some(*tensor)
    }

    fn local(&mut self, index: &[IndexId], name: &str) -> TensorId {
        let shape = index.iter().map(|i| self.new.indices[*i].extent).collect();
        let name = self.new.fresh_name(name);
        self.new.tensors.push(Tensor {
            name,
            role: Role::Local,
            format: Arc::new(f32_format()),
            shape,
            filled: 1,
        })
    }

    /// For each reduced index the one that stands for it: the first of the statement with the same extent that is not
    /// bound around it.
    fn shared_indices(&self, statement: &Statement) -> BTreeMap<IndexId, IndexId> {
        let mut map = BTreeMap::new();
        let mut leaders: Vec<(Extent, usize, IndexId)> = Vec::new();
        for target in &statement.targets {
            self.share(target.value, 0, &mut leaders, &mut map);
        }
        map
    }

    /// `position` counts indices of equal extent that are bound around: two of them stay apart.
    fn share(
        &self,
        expr: ExprId,
        depth: usize,
        leaders: &mut Vec<(Extent, usize, IndexId)>,
        map: &mut BTreeMap<IndexId, IndexId>,
    ) {
        let mut inner = depth;
        if let Expr::Reduce(_, indices, _) = &self.old.exprs[expr] {
            for index in indices {
                let extent = self.old.indices[*index].extent;
                let leader = leaders
                    .iter()
                    .find(|(e, d, _)| *e == extent && *d == inner)
                    .map(|(_, _, l)| *l);
                match leader {
                    Some(leader) => {
                        map.insert(*index, leader);
                    }
                    None => leaders.push((extent, inner, *index)),
                }
                inner += 1;
            }
        }
        for operand in self.old.exprs[expr].operands() {
            self.share(operand, inner, leaders, map);
        }
    }

    fn push(&mut self, expr: Expr) -> ExprId {
        match self.new.exprs.iter().find(|(_, e)| **e == expr) {
            Some((id, _)) => id,
            None => self.new.exprs.push(expr),
        }
    }

    fn rebuild(
        &mut self,
        expr: ExprId,
        shared: &BTreeMap<IndexId, IndexId>,
        outputs: &BTreeSet<IndexId>,
        reduced: bool,
    ) -> ExprId {
        let new = match self.old.exprs[expr].clone() {
            Expr::Const(c) => Expr::Const(c),
            Expr::Dim(d) => Expr::Dim(d),
            Expr::Load(tensor, subscripts) => Expr::Load(
                tensor,
                subscripts.iter().map(|s| rename(s, shared)).collect(),
            ),
            Expr::Unary(f, a) => Expr::Unary(f, self.rebuild(a, shared, outputs, reduced)),
            Expr::Binary(f, a, b) => {
                let a = self.rebuild(a, shared, outputs, reduced);
                Expr::Binary(f, a, self.rebuild(b, shared, outputs, reduced))
            }
            Expr::Select(c, [a, b], t, f) => {
                let [a, b, t, f] = [a, b, t, f].map(|e| self.rebuild(e, shared, outputs, reduced));
                Expr::Select(c, [a, b], t, f)
            }
            Expr::Reduce(op, indices, body) => {
                let body = self.rebuild(body, shared, outputs, true);
                let indices: Vec<IndexId> = indices
                    .iter()
                    .map(|i| shared.get(i).copied().unwrap_or(*i))
                    .collect();
                let mut free = BTreeSet::new();
                free_indices(&self.new, body, &mut free);
                for index in &indices {
                    free.remove(index);
                }
                let value = self.push(Expr::Reduce(op, indices, body));
                if !reduced && (free == *outputs || outputs.is_empty()) {
                    return value;
                }
                let index: Vec<IndexId> = free.into_iter().collect();
                let tensor = self.local(&index, "reduced");
                let target = Target {
                    tensor,
                    index: index.clone(),
                    value,
                    store: Store::Number,
                };
                self.steps.push(Step::Compute(Statement {
                    targets: vec![target],
                }));
                Expr::Load(tensor, index.into_iter().map(Subscript::Index).collect())
            }
        };
        self.push(new)
    }
}

fn rename(subscript: &Subscript, shared: &BTreeMap<IndexId, IndexId>) -> Subscript {
    match subscript {
        Subscript::Index(i) => Subscript::Index(shared.get(i).copied().unwrap_or(*i)),
        Subscript::Quotient(i, by) => {
            Subscript::Quotient(shared.get(i).copied().unwrap_or(*i), *by)
        }
        Subscript::Const(c) => Subscript::Const(*c),
        Subscript::Gather(t, inner) => {
            Subscript::Gather(*t, inner.iter().map(|s| rename(s, shared)).collect())
        }
    }
}

/// Index variables that an expression depends on.
fn free_indices(kernel: &Kernel, expr: ExprId, into: &mut BTreeSet<IndexId>) {
    let node = &kernel.exprs[expr];
    if let Expr::Load(_, subscripts) = node {
        subscripts.iter().for_each(|s| subscript_indices(s, into));
    }
    for operand in node.operands() {
        free_indices(kernel, operand, into);
    }
    if let Expr::Reduce(_, indices, _) = node {
        for index in indices {
            into.remove(index);
        }
    }
}

fn subscript_indices(subscript: &Subscript, into: &mut BTreeSet<IndexId>) {
    match subscript {
        Subscript::Index(i) | Subscript::Quotient(i, _) => {
            into.insert(*i);
        }
        Subscript::Const(_) => {}
        Subscript::Gather(_, inner) => inner.iter().for_each(|s| subscript_indices(s, into)),
    }
}

fn is_f32(format: &Format) -> bool {
    matches!(&format.kind, FormatKind::Plain(Element::Float(f)) if f.exp == 8 && f.man == 23 && f.bias == 127)
}

fn f32_format() -> Format {
    Format {
        name: "f32".into(),
        kind: FormatKind::Plain(F32),
    }
}
