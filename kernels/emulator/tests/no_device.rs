//! A machine without a device, as programs find it. One test: the environment is read once in a process.

use cuda::driver::*;

#[test]
fn a_machine_without_a_device_says_so() {
    // SAFETY: no other thread of this process looks at the environment: there is one test, and it begins here.
    unsafe { std::env::set_var("FLG_EMULATOR_DEVICES", "0") };
    const NO_DEVICE: i32 = 100;
    let (mut count, mut context, mut address, mut version) = (9, 0, 0, 0);
    // SAFETY: places that outlive the calls.
    unsafe {
        assert_eq!(cuInit(0), NO_DEVICE);
        assert_eq!(cuDeviceGetCount((&mut count).into()), NO_DEVICE);
        assert_eq!(cuDeviceGet((&mut count).into(), 0), 101, "no such device");
        assert_eq!(cuCtxCreate_v2((&mut context).into(), 0, 0), 101);
        assert_eq!(cuMemAlloc_v2((&mut address).into(), 8), 3, "not initialised");
        assert_eq!(cuDriverGetVersion((&mut version).into()), 0);
    }
    assert!(version >= 12000);
}
