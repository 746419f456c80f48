//! Arithmetic on raw slices. Knows no tensor, no autograd and no model.
//!
//! # The contract
//!
//! It holds for every kernel on every device, and the tests over [`KERNELS`] hold every kernel to it.
//!
//! - **Operands** are contiguous and row-major unless their field says otherwise. [`In`] is read, [`Out`] is written.
//! - **Outputs are written, not added to** (`=`): whatever they held before does not matter. A field named `*_acc` is
//!   added to (`+=`): parameters' gradients, running sums. A field documented *in place* is read and written.
//! - **Inputs never alias outputs**; the borrow checker sees to it, also for memory of a GPU.
//! - **Operands lie where the runtime computes**: in host memory for the CPU, on the GPU for a GPU.
//! - **Any size**, including zero and one. A kernel has no happy shapes.
//! - **Precision**: bf16 is widened to f32, all arithmetic and accumulation is f32 (or f64 where said), and each output
//!   element is rounded once, to nearest even.
//! - **Order**: a reduction's order depends on the shape only, never on the thread count. The same inputs give the same
//!   bits on 1, 2 or 8 threads.
//! - **NaN and infinity pass through** to the rows they belong to; no operand is skipped because it is zero. Denormals
//!   are kept, and a call leaves the processor's modes as they were.
//! - **Threads** are those of the rayon pool in which a kernel is called. None is started.
//! - **A GPU computes later**: a call returns when its work is in the GPU's one stream, which runs it in the order of the
//!   calls. What fails there shows in a later call, at the latest where the host reads a result.
//! - **Errors** come from `check` (the caller's mistake: an operand of the wrong length or type) or from the driver. A
//!   kernel reports nothing by writing NaN.
//!
//! # How a kernel folder reads
//!
//! | file | what it says |
//! |---|---|
//! | `mod.rs` | the formula, the argument structs with the shape of every field, `check`, the dispatch, the catalog row |
//! | `reference.rs` | the same formula in f64 scalar loops: it is the specification |
//! | `cpu.rs` | the fast path, written once over [`simd::Simd`], split over rayon |
//! | `cuda.rs`, `<kernel>.cu` | the path for NVIDIA GPUs, with the feature `cuda`: grid arithmetic and launch, device code |
//! | `row.rs` | the catalog row, where `mod.rs` would grow too long |
//! | others | the parts of a fast path that is too long for one file, each named by what it does |
//!
//! A reference is forward only, and backward kernels are held to its central differences, so that a wrong derivation
//! cannot be wrong twice in the same way. Where differences of every element would cost too much (attention) the
//! reference has a backward, which is itself held to them on small shapes.
//!
//! A new kernel is a folder like these and one line in [`catalog::KERNELS`]; tests, benches and documentation follow
//! from that line.

pub mod catalog;
pub mod dtype;
pub mod error;
mod groups;
mod lanes;
mod row_sums;
pub mod runtime;
pub mod simd;
pub mod view;

pub mod adamw;
pub mod attention;
pub mod cast;
pub mod conv;
pub mod elementwise;
pub mod gated_add;
pub mod gather;
pub mod gelu;
pub mod gemm;
pub mod layer_norm;
pub mod lerp;
pub mod modulation;
pub mod mse;
pub mod normal;
pub mod patchify;
pub mod reduce;
pub mod regroup;
pub mod rms_norm;
pub mod rope;
pub mod silu;
pub mod softmax;
pub mod strided_copy;
pub mod unit_norm;

pub use catalog::{KERNELS, Kernel};
pub use dtype::DType;
pub use error::{Error, Result};
pub use half::bf16;
pub use runtime::Runtime;
pub use view::{In, Out};
