//! What rules of magic numbers rest on: sixteen bits in the low half of an f32 from 2^23 on are added to it, and what is added
//! after that is not rounded.

use crate::rewrite::lang::Ty;

/// The float that has a word as its low half, as code is made for `v.magic`.
fn magic(word: u16) -> f32 {
    f32::from_bits(0x4b00_0000 | u32::from(word))
}

#[test]
fn magic_numbers_are_exact() {
    let (low, high) = Ty::I16.range();
    for constant in [low, -255.0, -8.0, -1.0, 0.0, 1.0, 8.0, 255.0, high] {
        let offset = constant - 8_388_608.0;
        assert_eq!(f64::from(offset as f32), offset);
        for word in 0..=u16::MAX {
            let wanted = f64::from(word) + constant;
            let found = magic(word) + offset as f32;
            assert_eq!(f64::from(found), wanted, "{word} and {constant}");
            // There is one zero among integers, as a conversion gives it.
            assert!(wanted != 0.0 || found.is_sign_positive());
        }
    }
}
