//! What `flg bench` times: whole steps of real networks, and kernels one by one.
//!
//! Sizes, work and names are those under which other implementations are timed, so that rows can be compared. A step is
//! what training and sampling do: the same network, tape and optimiser, with random weights and inputs.

mod clock;
mod kernels;
mod peak;
mod size;
mod step;

pub use clock::{Clock, available_memory, median, peak_memory};
pub use kernels::{Call, PEERS, Peers};
pub use peak::peak_flops;
pub use size::{Setting, Size};
pub use step::{Inference, Kept, Training};
