// Products in exact f32; scalar.cuh says how.
//
// Two terms of a thread's 8 x 8 elements are 128 FFMA and (NN / NT / TN) 12 / 16 / 8 reads of shared memory and
// 12 / 13 / 6 other instructions for sm_80, with 125 / 117 / 111 registers, so that two blocks of 128 x 128 fit into a
// multiprocessor. For these terms the eight warps of one take, in cycles of an A100,
//
//   FFMA             8 warps x 128 x 2 cycles / 4 units                512
//   shared memory    8 warps x 32 reads of 128 bytes, 16 for writes    272
//   issue            8 warps x 157 / 4 units                           314
//
// so that the units for f32 are what takes longest. GPUs with twice as many of them are bound by the issue of 157
// instructions for 128 FFMA, at 81 %. None of it was measured on a GPU.
//
// Tried: four terms at a time, with half as many reads, each of twice the width, spill in 128 registers.
#include "gemm/scalar.cuh"

// The three layouts; `a` has its terms side by side but in TN, `b` only in NT.
#define SCALAR_KERNELS(name, min_blocks, t, asynchronous)                                                         \
    KERNEL(name##_nn, min_blocks, ScalarProduct<t, true, false, asynchronous>)                                    \
    KERNEL(name##_nt, min_blocks, ScalarProduct<t, true, true, asynchronous>)                                     \
    KERNEL(name##_tn, min_blocks, ScalarProduct<t, false, false, asynchronous>)

SCALAR_KERNELS(gemm_scalar_128, 2, 128, true)
SCALAR_KERNELS(gemm_scalar_64, 6, 64, true)
SCALAR_KERNELS(gemm_scalar_plain_128, 1, 128, false)
SCALAR_KERNELS(gemm_scalar_plain_64, 4, 64, false)
