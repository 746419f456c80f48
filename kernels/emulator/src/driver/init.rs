//! The start, the version, and finding functions by name.

use super::controls::settings;
use super::error::{Answer, Code};
use super::pointer::{Out, Text};
use super::{exported, journal, state};

/// The version of the API that is claimed: 12.4.
const VERSION: i32 = 12040;

exports! {
    /// The first call.
    fn cuInit(flags: u32) = init;
    /// The version of the API, as 1000 times the major and 10 times the minor one.
    fn cuDriverGetVersion(version: Out<i32>) = version;
    /// The address of a function.
    fn cuGetProcAddress(name: Text, address: Out<*const ()>, version: i32, flags: u64) = address;
    /// The address of a function, and whether it was found: 0, or 1 for a name that there is not.
    fn cuGetProcAddress_v2(
        name: Text, address: Out<*const ()>, version: i32, flags: u64, found: Out<i32>
    ) = address_and_status;
    /// Nothing.
    fn cuProfilerStart() = nothing;
    /// Nothing.
    fn cuProfilerStop() = nothing;
}

fn init(flags: u32) -> Answer {
    if flags != 0 || !settings().valid {
        return Err(Code::INVALID_VALUE);
    }
    if settings().devices == 0 {
        return Err(Code::NO_DEVICE);
    }
    journal::say_once("this is no GPU: kernels are executed, and checked, on the CPU");
    state::lock().initialised = true;
    Ok(())
}

fn version(version: Out<i32>) -> Answer {
    version.put(VERSION)
}

fn address(name: Text, address: Out<*const ()>, version: i32, flags: u64) -> Answer {
    address_and_status(name, address, version, flags, Out::null())
}

/// Names come without the suffix of their version: the newest that there is, as for programs that were compiled with
/// a current header. Flags choose between default streams, which is the legacy one here.
fn address_and_status(name: Text, to: Out<*const ()>, version: i32, _flags: u64, found: Out<i32>) -> Answer {
    const NOT_FOUND: i32 = 1;
    let name = name.read()?;
    let newest = match name.as_str() {
        "cuGetProcAddress" if version < 12000 => None,
        _ => exported(&format!("{name}_v2")),
    };
    let address = newest.or_else(|| exported(&name));
    to.put(address.unwrap_or(std::ptr::null()))?;
    found.put_if_asked(if address.is_some() { 0 } else { NOT_FOUND });
    address.map(|_| ()).ok_or(Code::NOT_FOUND)
}

fn nothing() -> Answer {
    Ok(())
}
