//! The functions of the CUDA driver, under the names that programs link to.
//!
//! A program gets this library in place of the driver by the loader's path:
//!
//! ```text
//! cargo build --release -p flg-emulator
//! mkdir -p stub/lib64 && cp target/release/libcuda.so stub/lib64/ && ln -sf libcuda.so stub/lib64/libcuda.so.1
//! CUDA_LIBRARY_PATH=$PWD/stub cargo build ...      # what links to the driver looks there
//! LD_LIBRARY_PATH=$PWD/stub/lib64 program          # emulated; without, the real driver
//! ```
//!
//! A file for each subject: the list of what it exports at its top, ordinary code below. Every exported function takes
//! the one lock of the process, answers a number of the API (0 is success), and lets no panic out.
//!
//! | file | what it says |
//! |---|---|
//! | `controls.rs` | the environment, and functions of ours that no driver has |
//! | `error.rs`, `pointer.rs` | answers, and arguments that are pointers |
//! | `init.rs`, `device.rs`, `occupancy.rs` | the device that is claimed: an A100's limits under another name |
//! | `state.rs`, `context.rs` | what the process has: contexts, and which one a thread uses |
//! | `module.rs`, `link.rs`, `function.rs`, `launch.rs` | from PTX to kernels that are queued |
//! | `stream.rs`, `event.rs` | streams and events as the API sees them |
//! | `queue.rs`, `work.rs` | what waits, in which order it is done, and doing it |
//! | `clock.rs`, `history.rs` | what is ordered before what, and where two meet without an order |
//! | `memory.rs`, `pinned.rs`, `copy.rs`, `plane.rs`, `fill.rs` | memory of the device and of the host |
//! | `journal.rs` | what is reported |
//! | `unsupported.rs` | what is not emulated, and says so |

/// Exports functions of the driver. The body of each is a safe function of the same arguments: what their types say of
/// pointers (see `pointer.rs`) is what the caller promises.
macro_rules! exports {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),* $(,)?) = $body:ident;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Safety
            /// Each pointer is null, or good for what the driver's API does with it. For memory of asynchronous copies
            /// that holds until they are done.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case, clippy::too_many_arguments)]
            pub unsafe extern "C" fn $name($($argument: $kind),*) -> i32 {
                $crate::driver::guard(stringify!($name), move || self::$body($($argument),*))
            }
        )*

        /// What this file exports.
        pub(super) const EXPORTS: &[(&str, *const ())] = &[$((stringify!($name), $name as *const ())),*];
    };
}

mod clock;
mod context;
mod controls;
mod copy;
mod device;
mod error;
mod event;
mod fill;
mod function;
mod history;
mod init;
mod journal;
mod launch;
mod link;
mod memory;
mod module;
mod occupancy;
mod pinned;
mod plane;
mod pointer;
mod queue;
mod state;
mod stream;
mod unsupported;
mod work;

pub use self::context::*;
pub use self::controls::*;
pub use self::copy::*;
pub use self::device::*;
pub use self::error::*;
pub use self::event::*;
pub use self::fill::*;
pub use self::function::*;
pub use self::init::*;
pub use self::launch::*;
pub use self::link::*;
pub use self::memory::*;
pub use self::module::*;
pub use self::occupancy::*;
pub use self::pinned::*;
pub use self::plane::*;
pub use self::pointer::{In, Out, Text};
pub use self::stream::*;
pub use self::unsupported::*;

use self::error::{Answer, Code};

/// Runs the body of an exported function: no panic gets out, and functions that streams call get nowhere.
fn guard(name: &str, body: impl FnOnce() -> Answer) -> i32 {
    if work::IN_HOST_FUNCTION.with(std::cell::Cell::get) {
        journal::say_once(&format!("{name} was called by a function that a stream called"));
        return Code::NOT_PERMITTED.0;
    }
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(answer) => answer.map_or_else(|code| code.0, |()| 0),
        Err(_) => {
            journal::say_once(&format!("a defect of the emulator, in {name}"));
            Code::UNKNOWN.0
        }
    }
}

/// The address of an exported function.
fn exported(name: &str) -> Option<*const ()> {
    let all = [
        context::EXPORTS,
        copy::EXPORTS,
        device::EXPORTS,
        error::EXPORTS,
        event::EXPORTS,
        fill::EXPORTS,
        function::EXPORTS,
        init::EXPORTS,
        launch::EXPORTS,
        link::EXPORTS,
        memory::EXPORTS,
        module::EXPORTS,
        occupancy::EXPORTS,
        pinned::EXPORTS,
        plane::EXPORTS,
        stream::EXPORTS,
        unsupported::EXPORTS,
    ];
    all.into_iter().flatten().find(|(export, _)| *export == name).map(|(_, address)| *address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stays_inside() {
        assert_eq!(guard("cuTest", || panic!("on purpose")), 999);
        assert_eq!(guard("cuTest", || Err(Code::NOT_READY)), 600);
        assert_eq!(guard("cuTest", || Ok(())), 0);
    }
}
