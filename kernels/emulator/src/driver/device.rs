//! The device that is claimed: an A100's limits, under a name that says what it is.

use super::controls::settings;
use super::error::{Answer, Code};
use super::pointer::Out;
use super::state::initialised;

/// What the device is called. Benches look for the word "emulated" and refuse to give times.
pub(super) const NAME: &str = "emulated sm_80 (no GPU)";
/// Compute capability.
pub(super) const CAPABILITY: (i32, i32) = (8, 0);
/// Multiprocessors, unless a variable says otherwise.
pub(super) const MULTIPROCESSORS: u32 = 108;
/// Threads of a warp.
pub(super) const WARP: u32 = 32;
/// Threads of a block.
pub(super) const BLOCK_THREADS: u32 = 1024;
/// Threads of a block in each dimension.
pub(super) const BLOCK: [u32; 3] = [1024, 1024, 64];
/// Blocks of a grid in each dimension.
pub(super) const GRID: [u32; 3] = [i32::MAX as u32, 65535, 65535];
/// Bytes of shared memory that a block gets without asking for more by `cuFuncSetAttribute`.
pub(super) const SHARED: usize = 48 << 10;
/// Bytes that it gets at most.
pub(super) const SHARED_AT_MOST: usize = 163 << 10;
/// Bytes that the system takes of each block's share of a multiprocessor.
pub(super) const SHARED_RESERVED: usize = 1 << 10;
/// Bytes of a multiprocessor.
pub(super) const MULTIPROCESSOR_SHARED: usize = 164 << 10;
/// Threads of a multiprocessor.
pub(super) const MULTIPROCESSOR_THREADS: u32 = 2048;
/// Blocks of a multiprocessor.
pub(super) const MULTIPROCESSOR_BLOCKS: u32 = 32;

/// The numbers of attributes go from 1 to this.
const LAST_ATTRIBUTE: i32 = 161;

exports! {
    /// Devices.
    fn cuDeviceGetCount(count: Out<i32>) = count;
    /// A device by its ordinal.
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) = get;
    /// The name, cut to `room` bytes with the zero at its end.
    fn cuDeviceGetName(name: Out<u8>, room: i32, device: i32) = name;
    /// Bytes of memory.
    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) = total_memory;
    /// A limit or a property, by its number.
    fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) = attribute;
    /// Sixteen bytes that name the device.
    fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: i32) = uuid;
    /// Sixteen bytes that name the device.
    fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) = uuid;
    /// Compute capability.
    fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) = capability;
    /// Whether a device reaches another one's memory: none does.
    fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) = can_access_peer;
}

/// Whether there is such a device.
pub(super) fn check(device: i32) -> Answer {
    let known = usize::try_from(device).is_ok_and(|device| device < settings().devices);
    if known { initialised().map(|_| ()) } else { Err(Code::INVALID_DEVICE) }
}

fn count(count: Out<i32>) -> Answer {
    if settings().devices == 0 {
        return Err(Code::NO_DEVICE);
    }
    drop(initialised()?);
    count.put(settings().devices as i32)
}

fn get(device: Out<i32>, ordinal: i32) -> Answer {
    check(ordinal)?;
    device.put(ordinal)
}

fn name(name: Out<u8>, room: i32, device: i32) -> Answer {
    check(device)?;
    let room = usize::try_from(room).ok().filter(|&room| room > 0).ok_or(Code::INVALID_VALUE)?;
    let text: Vec<u8> = NAME.bytes().take(room - 1).chain([0]).collect();
    name.put_all(&text)
}

fn total_memory(bytes: Out<usize>, device: i32) -> Answer {
    check(device)?;
    bytes.put(settings().memory)
}

fn uuid(uuid: Out<[u8; 16]>, device: i32) -> Answer {
    check(device)?;
    let mut name = *b"flg-emulator-000";
    name[15] += device as u8;
    uuid.put(name)
}

fn capability(major: Out<i32>, minor: Out<i32>, device: i32) -> Answer {
    check(device)?;
    major.put(CAPABILITY.0)?;
    minor.put(CAPABILITY.1)
}

fn can_access_peer(can: Out<i32>, device: i32, peer: i32) -> Answer {
    check(device)?;
    check(peer)?;
    can.put(0)
}

fn attribute(value: Out<i32>, attribute: i32, device: i32) -> Answer {
    check(device)?;
    if !(1..=LAST_ATTRIBUTE).contains(&attribute) {
        return Err(Code::INVALID_VALUE);
    }
    value.put(attribute_value(attribute))
}

/// The value of `CU_DEVICE_ATTRIBUTE_*`. Those of textures, surfaces and all else that is not emulated are 0; clocks,
/// bus width and caches are an A100's, and only good for arithmetic about one.
#[rustfmt::skip]
fn attribute_value(attribute: i32) -> i32 {
    match attribute {
        1 => BLOCK_THREADS as i32,
        2..=4 => BLOCK[attribute as usize - 2] as i32,
        5..=7 => GRID[attribute as usize - 5] as i32,
        8 => SHARED as i32,
        9 => 64 << 10,                             // constant memory
        10 => WARP as i32,
        11 => i32::MAX,                            // pitch of a copy
        12 | 82 => 65536,                          // registers, of a block and of a multiprocessor
        13 => 1_410_000,                           // clock, kHz
        14 | 51 => 512,                            // alignment of textures, of their pitch
        15 | 31 => 1,                              // copies beside kernels, kernels beside kernels
        16 => settings().multiprocessors as i32,
        36 => 1_215_000,                           // memory's clock, kHz
        37 => 5120,                                // bus, bits
        38 => 40 << 20,                            // second-level cache
        39 => MULTIPROCESSOR_THREADS as i32,
        40 => 3,                                   // copy engines
        41 => 1,                                   // one address space
        75 => CAPABILITY.0,
        76 => CAPABILITY.1,
        78..=80 => 1,                              // stream priorities, first-level caches
        81 => MULTIPROCESSOR_SHARED as i32,
        87 => 2,                                   // f32 operations for one of f64
        97 => SHARED_AT_MOST as i32,
        99 => 1,                                   // pinning of memory that exists
        106 => MULTIPROCESSOR_BLOCKS as i32,
        111 => SHARED_RESERVED as i32,
        115 => 1,                                  // allocation in the order of a stream
        _ => 0,
    }
}
