//! Tensors and differentiation.
//!
//! A [`Tensor`] is a plain value; a [`Var`] is a value in a computation. Kernels, optimisers, loaders and backward rules
//! speak `Tensor`, so a backward pass cannot record itself and second-order graphs cannot be written. Crossing from one
//! network to another goes through a `Tensor`: *stop-gradient is what happens by default between contexts*.
//!
//! A network is an architecture (which holds [`ParamId`]s) and a [`ParamStore`] (which holds the values). Student,
//! critic, teacher and moving average are one architecture and four stores; [`Cx`] says which store a forward pass uses
//! and whether it is recorded:
//!
//! ```
//! use flg_engine::{Cx, Device, Grads, ParamStore, Tensor};
//! # fn main() -> flg_engine::Result<()> {
//! let device = Device::cpu();
//! let mut weights = ParamStore::new(&device);
//! let w = weights.insert("w", Tensor::from_vec(&device, vec![2.0, 3.0], [2])?)?;
//!
//! let cx = Cx::training(&weights);
//! let x = cx.input(Tensor::from_vec(&device, vec![10.0, 20.0], [2])?);
//! let y = cx.multiply(&x, &cx.param(w))?;
//! let mut grads = Grads::new(&weights);
//! cx.vjp(&y, Tensor::full(&device, 1.0, [2])?, &mut grads)?;
//! assert_eq!(grads.get(w).unwrap().to_vec(), [10.0, 20.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Words used everywhere: `cx` context of a forward pass; `dy`, `dx` gradients with respect to an output, an input;
//! `b` batch, `t` time, `f h w` frames, height, width, `d` width of a token; `q k v` queries, keys, values; `eps`, `lr`.

pub mod arithmetic;
pub mod checkpoint;
pub mod cx;
pub mod device;
pub mod error;
pub mod files;
pub mod grads;
pub mod kept;
pub mod layout;
pub mod memory;
pub mod op;
pub mod ops;
pub mod param;
pub mod rng;
pub mod safetensors;
pub mod shape;
pub mod tape;
pub mod tensor;
pub mod transfer;

pub use arithmetic::concat;
pub use cx::{Cx, Precision};
pub use device::Device;
pub use error::{Error, Result};
pub use files::FileError;
pub use flg_kernels::{DType, Runtime, bf16};
pub use grads::{Grads, InputGrads, Reparametrization};
pub use kept::{Again, Kept, SavedAs};
pub use layout::Layout;
pub use op::{GradSink, Op};
pub use param::{ParamId, ParamStore};
pub use rng::Key;
pub use shape::Shape;
pub use tape::Var;
pub use tensor::Tensor;
