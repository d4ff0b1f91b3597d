//! Calls on tensors made of given codes: what the interpreter says of them, what machine code makes of them, and what the
//! vector IR means where that does not run here. Functions of this module panic where a test would.

use lowbit::check::{Random, Reference, borrow, converted, extents, shape};
use lowbit::compiler::format::{Element, Format, FormatKind};
use lowbit::compiler::spec::interp::Evaluated;
use lowbit::compiler::spec::kernel::{Kernel as Spec, Role};
use lowbit::compiler::vector::interp;
use lowbit::compiler::vector::ir::{ParamId, ParamKind};
use lowbit::{Kernel, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The code of an element of a tensor, by row and place in it.
pub type Codes<'a> = dyn FnMut(Role, &Element, u64, u64) -> u32 + 'a;

/// What a kernel of one result is called with.
pub struct Call {
    /// The extents of all dimensions.
    pub dims: Vec<u64>,
    /// Tensors in their declared formats, by number.
    pub inputs: Vec<Option<Tensor>>,
    reference: Reference,
}

impl Call {
    /// Data with the given codes, and scales of 1.
    ///
    /// # Panics
    /// If the interpreter has no result.
    pub fn new(spec: &Spec, free: &[u64], codes: &mut Codes<'_>) -> Call {
        let dims = extents(spec, free);
        let given = |role| matches!(role, Role::Weight | Role::Stored | Role::Input);
        let mut inputs = Vec::new();
        for (id, tensor) in spec.tensors.iter() {
            let mut own = |e: &Element, r, i| codes(tensor.role, e, r, i);
            let made = given(tensor.role)
                .then(|| tensor_of(&tensor.format, &shape(spec, id, &dims), &mut own));
            inputs.push(made);
        }
        let reference = Reference::new(spec, &dims, &inputs).expect("a reference");
        Call {
            dims,
            inputs,
            reference,
        }
    }

    /// What the interpreter says of the result.
    ///
    /// # Panics
    /// If there is none.
    pub fn wanted(&self) -> &Evaluated {
        self.reference.evaluated().next().expect("a result")
    }

    /// What a kernel makes of it: by machine code, or where that does not run here, by the meaning of its vector IR.
    ///
    /// # Panics
    /// If the call fails.
    pub fn run(&self, kernel: &Kernel) -> Tensor {
        let args = converted(kernel, &self.inputs).expect("its layout");
        match kernel.target().features.runs_here() {
            true => kernel.call(&borrow(&args)).expect("it runs"),
            false => self.interpreted(kernel, &args),
        }
    }

    fn interpreted(&self, kernel: &Kernel, args: &[(String, Tensor)]) -> Tensor {
        let function = &kernel.program().expect("a program").function;
        let (format, shape) = self.reference.outputs().next().expect("a result");
        let size = format.tensor_bytes(shape).expect("a size") as usize;
        let buffer = |(id, param): (ParamId, &lowbit::compiler::vector::ir::Param)| {
            let given = args.iter().find(|(name, _)| *name == param.name);
            match param.kind {
                ParamKind::Read => Some((id, given.expect("a tensor").1.bytes().to_vec())),
                ParamKind::Write => Some((id, vec![0; size])),
                _ => None,
            }
        };
        let mut buffers: Vec<(ParamId, Vec<u8>)> =
            function.params.iter().filter_map(buffer).collect();
        let named = borrow(args);
        let tasks = kernel.prepare(&named).expect("a call").tasks();
        interp::run(
            function,
            &mut buffers,
            &|s| s.eval(&self.dims),
            (0, tasks + 1),
        )
        .expect("it runs");
        let written = |id: &ParamId| matches!(function.params[*id].kind, ParamKind::Write);
        let result = buffers.into_iter().find(|(id, _)| written(id));
        let (_, bytes) = result.expect("a result");
        Tensor::from_bytes(format.clone(), shape, bytes).expect("a tensor")
    }

    /// How the result of a kernel differs from what the interpreter permits, in words; empty if it does not.
    ///
    /// # Panics
    /// If the call fails.
    pub fn differences(&self, kernel: &Kernel) -> Vec<String> {
        let compared = self.reference.compare(&[self.run(kernel)]);
        compared.expect("a tensor").differences
    }
}

/// Codes that elements accept, with the least value and with the largest; found once for each element.
#[derive(Default)]
struct Ends(BTreeMap<String, (u32, u32)>);

impl Ends {
    fn of(&mut self, element: &Element) -> (u32, u32) {
        let known = self.0.entry(format!("{element:?}"));
        *known.or_insert_with(|| {
            let legal = (0..1u32 << element.bits()).filter(|c| element.is_legal(*c));
            let by_value = |a: &u32, b: &u32| element.decode(*a).total_cmp(&element.decode(*b));
            let least = legal.clone().min_by(by_value).expect("a code");
            (least, legal.max_by(by_value).expect("a code"))
        })
    }
}

/// Rows of the least codes, rows of the largest, rows that go from one to the other, and rows of random codes, many of which
/// are extreme.
pub fn extreme(mut random: Random) -> impl FnMut(Role, &Element, u64, u64) -> u32 {
    let mut ends = Ends::default();
    move |_, element, row, place| {
        let (least, most) = ends.of(element);
        match (row % 5, random.below(3)) {
            (0, _) => least,
            (1, _) => most,
            (2, _) | (_, 0) => [least, most][(place % 2) as usize],
            _ => {
                let code = random.number() as u32 & (u32::MAX >> (32 - element.bits()));
                if element.is_legal(code) { code } else { least }
            }
        }
    }
}

/// Rows of weights that are all equal, and rows of activations that repeat a few numbers: every sum over neighbours is off
/// by the same amount, and in the same direction.
pub fn repeating(mut random: Random) -> impl FnMut(Role, &Element, u64, u64) -> u32 {
    let groups: Vec<[u32; 4]> = (0..64)
        .map(|_| [(); 4].map(|()| random.number() as u32))
        .collect();
    let mut ends = Ends::default();
    move |role, element, row, place| {
        let (least, most) = ends.of(element);
        let mask = u32::MAX >> (32 - element.bits());
        match (role, row % 4) {
            (Role::Input, _) => {
                let period = 2 + row % 3;
                groups[row as usize % groups.len()][(place % period) as usize] & mask
            }
            (_, 0) => least,
            (_, 1) => most,
            (_, other) => {
                let code = (groups[row as usize % groups.len()][other as usize]) & mask;
                if element.is_legal(code) { code } else { least }
            }
        }
    }
}

/// A tensor with given codes, and scales of 1.
fn tensor_of(
    format: &Arc<Format>,
    shape: &[u64],
    code: &mut dyn FnMut(&Element, u64, u64) -> u32,
) -> Tensor {
    let columns = *shape.last().expect("columns");
    let size = format.tensor_bytes(shape).expect("a size");
    let mut bytes = vec![0; size as usize];
    match &format.kind {
        FormatKind::Plain(element) => {
            let places = bytes.chunks_exact_mut(element.storage_bytes() as usize);
            for (at, place) in places.enumerate() {
                let code = code(element, at as u64 / columns, at as u64 % columns);
                place.copy_from_slice(&code.to_le_bytes()[..place.len()]);
            }
        }
        FormatKind::Block(block) => {
            let starts: Vec<usize> = block.block_starts(shape).into_iter().collect();
            let along = columns.div_ceil(u64::from(block.len));
            for (number, start) in starts.into_iter().enumerate() {
                let first = number as u64 % along * u64::from(block.len);
                for field in block.fields.values() {
                    let scale = field.slots() == 1;
                    for slot in 0..field.slots() {
                        let code = if scale {
                            field.element.encode(1.0)
                        } else {
                            code(&field.element, number as u64 / along, first + slot as u64)
                        };
                        field.write(&mut bytes[start..], slot, code);
                    }
                }
            }
        }
    }
    Tensor::from_bytes(format.clone(), shape, bytes).expect("legal codes")
}
