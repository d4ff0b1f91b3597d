//! lowbit: compile and run tensor kernels over number formats that no CPU has.
//!
//! ```
//! let engine = lowbit::Engine::host()?;
//! let text = "
//!     language 1;
//!     format i4 = block i < 32 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); }
//!     kernel linear(weight w: i4[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
//!         y[m, n] = sum(k) w[n, k] * x[m, k];
//!     }";
//! let kernel = engine.compile(text, &[("N", 8), ("K", 64)])?;
//! let w = kernel.pack("w", &[0.5; 8 * 64])?;
//! let x = lowbit::Tensor::from_f32(&[1, 64], &[1.0; 64])?;
//! let y = kernel.call(&[("w", &w), ("x", &x)])?;
//! assert_eq!(y.shape(), [1, 8]);
//! # Ok::<(), lowbit::Error>(())
//! ```

pub mod bench;
mod bulk;
pub mod calibrate;
mod call;
pub mod check;
mod engine;
mod error;
mod explain;
pub mod files;
mod kernel;
pub mod measure;
mod memory;
mod object;
mod pack;
pub mod plot;
mod search;
mod show;
mod tensor;
mod threads;
mod together;
pub mod tune;

pub use bulk::{Decoder, Encoder};
pub use call::{Prepared, Rows, Scratch, Word};
pub use engine::{Engine, Options, find_kernel};
pub use error::Error;
pub use explain::{CandidateExplanation, Explanation, Resident, StepExplanation};
pub use kernel::{Alternative, Kernel, Stage};
pub use lowbit_compiler as compiler;
pub use object::Object;
pub use pack::Packer;
pub use search::Searcher;
pub use tensor::{Axis, SharedBytes, Tensor};
pub use threads::{Piece, Pool};
pub use together::{Call, Scratches, together};
