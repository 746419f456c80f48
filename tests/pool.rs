//! Kernels use the pool in which they are called, and start no other. In a process of its own: any other test may start
//! rayon's global pool.

use flg_kernels::{DType, KERNELS, Runtime};

#[test]
fn a_kernel_stays_in_the_pool_it_is_called_in() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        for kernel in KERNELS {
            for &variant in kernel.variants() {
                for shape in kernel.shapes() {
                    kernel.problem(variant, shape, DType::F32, 1).run(&Runtime::cpu()).unwrap();
                }
            }
        }
    });
    // The global pool can be built once: this fails if a kernel has started it.
    let global = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
    assert!(global.is_ok(), "a kernel has started the global pool");
}
