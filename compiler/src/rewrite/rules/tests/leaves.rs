//! Random leaves of instances: loads, codes, fields, elements and tables.

use super::instance::{Builder, top};
use crate::format::{Codebook, Element, FloatSpec, Specials};
use crate::rewrite::lang::{Node, Op};
use crate::schedule::index::{Affine, AxisKind, AxisSet};
use crate::schedule::term::{BitField, Load, Storage, Unit};
use crate::spec::kernel::TensorId;
use egg::Id;

impl Builder<'_> {
    /// Any way that a number lies in memory.
    pub(super) fn storage(&mut self) -> Storage {
        self.random.pick(&[
            Storage::U8,
            Storage::I8,
            Storage::U16,
            Storage::I16,
            Storage::I32,
            Storage::I32,
            Storage::F32,
            Storage::F32,
            Storage::Code { bits: 4 },
            Storage::Code { bits: 11 },
        ])
    }

    /// A load at an address that depends on some of the axes.
    pub(super) fn load(&mut self, storage: Storage, free: AxisSet) -> u32 {
        let loads = self.instance.facts.terms.loads.len() as u64;
        let mut address = Affine::constant(loads);
        for axis in free.iter() {
            if self.random.one_in(2) {
                address = address.plus(&Affine::axis(axis, 1));
            }
        }
        let bit = matches!(storage, Storage::Code { .. } | Storage::Place { .. });
        let bit = bit.then(|| Affine::constant(0));
        let call = self.random.one_in(2);
        self.instance.facts.call_loads.push(call);
        let tensor = TensorId::from_u32(0);
        self.instance.facts.terms.loads.push(Load {
            tensor,
            storage,
            address,
            bit,
        });
        loads as u32
    }

    /// A load of a storage.
    pub(super) fn load_of(&mut self, storage: Storage, free: AxisSet) -> Id {
        let load = self.load(storage, free);
        let leaf = vec![self.add(Node::Ref(load))];
        self.op(Op::Ld, leaf)
    }

    /// A field of so many bits; pairs of bits may be shifted by copies.
    pub(super) fn field(&mut self, width: u8, free: AxisSet) -> u32 {
        let mut shift =
            Affine::constant(self.random.below(u64::from(8 / width).max(1)) * u64::from(width));
        let copies = self.axes(|a| a.kind == AxisKind::Unroll).intersect(free);
        if let Some(axis) = copies.iter().next()
            && width <= 2
        {
            shift = Affine::axis(axis, u64::from(width));
        }
        let field = BitField {
            shift,
            width,
            up: Affine::constant(0),
        };
        self.instance.facts.terms.fields.push(field);
        self.instance.facts.terms.fields.len() as u32 - 1
    }

    /// A field of so many bits, in half of the cases higher in its code than 0, and then often beyond a byte or left where copies
    /// have it.
    pub(super) fn part(&mut self, width: u8, free: AxisSet) -> u32 {
        let field = self.field(width, free);
        let up = match self.random.below(4) {
            0 => Affine::constant(self.random.below(12)),
            1 => self.instance.facts.terms.fields[field as usize]
                .shift
                .clone(),
            _ => return field,
        };
        self.instance.facts.terms.fields[field as usize].up = up;
        field
    }

    /// What a number is worth, which copies may differ in.
    pub(super) fn unit(&mut self, free: AxisSet) -> u32 {
        let copies = self.axes(|a| a.kind == AxisKind::Unroll).intersect(free);
        let each = 1 + self.random.below(10);
        let bits = match copies.iter().next() {
            Some(axis) => Affine::axis(axis, each),
            None => Affine::constant(each),
        };
        let times = [None, Some(1.0), Some(-8.0), Some(0.5), Some(65536.0)];
        let times = self.random.pick(&times);
        self.instance.facts.terms.units.push(Unit { bits, times });
        self.instance.facts.terms.units.len() as u32 - 1
    }

    /// An integer in memory to take a code from that ends at some bit.
    pub(super) fn word(&mut self, bits: u32, free: AxisSet) -> Id {
        let storage = match bits {
            1..=8 if !self.random.one_in(4) => Storage::U8,
            1..=16 => Storage::U16,
            _ => Storage::I32,
        };
        self.load_of(storage, free)
    }

    /// A code of so many bits.
    pub(super) fn code(&mut self, bits: u32, free: AxisSet) -> Id {
        match bits {
            8 => self.load_of(Storage::U8, free),
            16 => self.load_of(Storage::U16, free),
            1..=31 if !self.random.one_in(4) => {
                let field = self.field(bits as u8, free);
                let word = self.word(top(&self.instance.facts, field), free);
                let parts = vec![self.add(Node::Ref(field)), word];
                self.op(Op::Bits, parts)
            }
            _ => self.load_of(Storage::Code { bits: bits as u8 }, free),
        }
    }

    /// Any element.
    pub(super) fn element(&mut self) -> u32 {
        let float = |exp, man, bias, specials, subnormal| {
            Element::Float(FloatSpec {
                bias,
                specials,
                signed: subnormal,
                subnormal,
                ..FloatSpec::ieee(exp, man)
            })
        };
        let codebook = |entries: &[f32]| {
            let entries = entries.to_vec();
            Element::Codebook(Codebook::scalar(entries).into())
        };
        let bits = self.random.pick(&[2, 4, 6, 8, 8, 12, 16, 20, 32]);
        let elements = [
            Element::Int { bits },
            Element::UInt { bits },
            float(2, 1, 1, Specials::Finite, true),
            float(4, 3, 7, Specials::NanOnly, true),
            float(5, 10, 15, Specials::Ieee, true),
            float(8, 7, 127, Specials::Ieee, true),
            float(8, 23, 127, Specials::Ieee, true),
            float(8, 0, 127, Specials::NanOnly, false),
            float(3, 2, 140, Specials::Finite, true),
            float(4, 1, 200, Specials::Finite, true),
            codebook(&[-1.0, 0.25, 0.5, 1.0]),
            codebook(&[-127.0, -3.0, 5.0, 127.0]),
            codebook(&[0.0, 3e9, 1.0, -3e9]),
        ];
        let which = if self.random.one_in(2) {
            2
        } else {
            elements.len()
        };
        let element = self.random.pick(&elements[..which]);
        self.instance.facts.terms.elements.push(element);
        self.instance.facts.terms.elements.len() as u32 - 1
    }

    /// An element whose codes are bytes of several digits: of a number or of a fraction, and sometimes with one that is wrong.
    pub(super) fn several(&mut self) -> u32 {
        let (base, width) = self.random.pick(&[(3u32, 5u32), (5, 3), (7, 2)]);
        let fraction = self.random.one_in(2);
        let digit = |c: u32, j: u32| match fraction {
            true => c * base.pow(j) % 256 * base / 256,
            false => c / base.pow(j) % base,
        };
        let lowest = self.random.pick(&[0.0, -1.0, -2.0, 100.0]);
        let places = |c| (0..width).map(move |j| (c, j));
        let worth = |(c, j)| lowest + digit(c, j) as f32;
        let mut entries: Vec<f32> = (0..256).flat_map(places).map(worth).collect();
        if self.random.one_in(8) {
            let at = self.random.below(entries.len() as u64) as usize;
            entries[at] = lowest + base as f32 - 1.0 - (entries[at] - lowest) / 2.0;
        }
        self.width = width;
        let element = Element::Codebook(Codebook::scalar(entries).into());
        self.instance.facts.terms.elements.push(element);
        self.instance.facts.terms.elements.len() as u32 - 1
    }

    /// A table of two, four or sixteen numbers.
    pub(super) fn table(&mut self) -> u32 {
        let bits = self.random.pick(&[1, 2, 4]);
        let (low, range, scale) = self.random.pick(&[
            (-8.0, 16, 1.0),
            (-6.0, 24, 0.5),
            (0.0, 256, 1.0),
            (-128.0, 256, 1.0),
            (-100.0, 1000, 1.0),
            (-2.0, 100, 0.0625),
            (-3e9, 2, 3e9),
            (-1.0, 1000, 0.001),
        ]);
        let entries = (0..1 << bits).map(|_| low + self.random.below(range) as f64 * scale);
        let entries = entries.collect();
        self.instance.facts.table(entries)
    }
}
