//! Good files, cut short at every place and damaged in thousands: they are read or refused, never more.

use super::super::Kind;
use super::build::*;
use super::read;

fn files() -> [(Kind, Vec<u8>); 4] {
    [
        (Kind::Gguf, small_gguf()),
        (Kind::Gguf, defined_gguf()),
        (Kind::Safetensors, small_safetensors()),
        (Kind::Npy, small_npy()),
    ]
}

#[test]
fn every_truncation_is_refused() {
    for (kind, bytes) in files() {
        for length in 0..bytes.len() {
            // The last tensor of the GGUF file has a type of unknown size, which takes what is there.
            let data = kind == Kind::Gguf && length > bytes.len() - 32;
            assert!(
                read(kind, &bytes[..length]).is_err() || data,
                "{kind:?} cut at {length} was read"
            );
        }
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn damaged_bytes() {
    let mut state = 0x1234_5678_9abc_def1;
    for (kind, bytes) in files() {
        let (mut good, mut bad) = (0, 0);
        for round in 0..20_000 {
            let mut damaged = bytes.clone();
            // One byte, or for every fourth file up to four.
            for _ in 0..if round % 4 == 0 {
                1 + random(&mut state) % 4
            } else {
                1
            } {
                let at = random(&mut state) as usize % damaged.len();
                damaged[at] = match random(&mut state) % 4 {
                    0 => 0,
                    1 => 0xff,
                    2 => damaged[at] ^ (1 << (random(&mut state) % 8)),
                    _ => random(&mut state) as u8,
                };
            }
            match read(kind, &damaged) {
                Ok(_) => good += 1,
                Err(_) => bad += 1,
            }
            if kind == Kind::Safetensors {
                agree(&damaged);
            }
        }
        assert!(
            good > 100 && bad > 100,
            "{kind:?}: {good} read, {bad} refused: the damage does not probe the reader"
        );
    }
}

/// What the crate `safetensors` reads is read here and is the same, but for what is stricter or wider here on purpose.
fn agree(bytes: &[u8]) {
    let ours = read(Kind::Safetensors, bytes);
    match (safetensors::SafeTensors::deserialize(bytes), ours) {
        (Ok(theirs), Ok(ours)) => {
            assert_eq!(theirs.len(), ours.tensors().len());
            for tensor in ours.tensors() {
                let other = theirs
                    .tensor(&tensor.name)
                    .expect("a tensor that both have");
                assert_eq!(
                    other.data(),
                    ours.tensor(&tensor.name).expect("listed").bytes
                );
                let shape: Vec<u64> = other.shape().iter().map(|n| *n as u64).collect();
                assert_eq!(shape, tensor.shape);
            }
        }
        (Ok(_), Err(e)) => assert!(
            e.to_string().contains("two tensors have this name"),
            "only we refuse it: {e}"
        ),
        (Err(theirs), Ok(ours)) => {
            let unknown = ours
                .tensors()
                .iter()
                .any(|t| super::super::safetensors::bits(&t.dtype.as_str()[12..]).is_none());
            assert!(unknown, "only we read it: {theirs}");
        }
        (Err(_), Err(_)) => {}
    }
}

#[test]
fn numbers_replaced_by_extreme_ones() {
    let extremes = [
        0u64,
        1,
        31,
        1 << 31,
        1 << 32,
        1 << 60,
        1 << 63,
        u64::MAX,
        u64::MAX - 31,
    ];
    for (kind, bytes) in files() {
        for at in 0..bytes.len() {
            for value in extremes {
                let mut damaged = bytes.clone();
                for (to, from) in damaged[at..].iter_mut().zip(value.to_le_bytes()) {
                    *to = from;
                }
                let _ = read(kind, &damaged);
            }
        }
    }
}
