// Products of bf16 by bf16 on tensor cores; tensor.cuh says how.
//
// What 32 terms of a warp's 64 x 64 elements cost, in the instructions that ptxas makes for sm_80 (NN / NT / TN):
//
//   tile       HMMA  LDSM  LDGSTS  other             registers
//   128 x 256    64    16       6  57 / 39 / 64      232 / 226 / 230, one block of 8 warps in a multiprocessor
//   128 x 128    64    16       8  58 / 45 / 58      234 / 232 / 238, two blocks of 4 warps
//
// That is 0.25 ldmatrix and 0.09 to 0.13 cp.async a multiplication, and 2.0 to 2.3 instructions in all. On an A100 a
// block of 128 x 256 needs, in cycles of a multiprocessor for 32 terms,
//
//   tensor cores     8 warps x 64 x 8 cycles / 4 units               1024
//   shared memory    8 warps x 16 x 4 reads, 384 x 64 / 128 writes    704
//   issue            8 warps x 150 / 4 units                          300
//   L2 cache         384 x 64 bytes at 47 a cycle                     523
//
// so that tensor cores are what takes longest; with 128 x 128 it is 512, 384, 146 and 349. No access to shared memory
// in the loop has a bank conflict: eight lanes, which are served at a time, have eight different groups of four banks.
// At 4096^3 the 512 blocks of 128 x 256 are 4.74 waves of 108 multiprocessors, whose last is not full (95 %), and while
// a block begins and stores its sums (2000 instructions a warp, beside 23 000 in the loop, and 128 KiB to L2), tensor
// cores wait for an estimated 3 % of its time. This bounds the kernel at 92 % of the peak; none of it was measured on a
// GPU.
//
// Not chosen: tiles of 64 terms, which halve the barriers, but of which three stages of 128 x 256 need 144 KiB, more
// than GPUs other than the A100 and the H100 have. Sums straight from registers to `c` would write half sectors where
// `c` is bf16, and repeat the epilogue's code 32 times.
#include "gemm/tensor.cuh"

// The three layouts; `a` has its terms side by side but in TN, `b` only in NT.
#define TENSOR_KERNELS(name, min_blocks, warps_m, warps_n, wm, wn, stages, aligned)                               \
    KERNEL(name##_nn, min_blocks, TensorProduct<warps_m, warps_n, wm, wn, stages, true, false, aligned>)          \
    KERNEL(name##_nt, min_blocks, TensorProduct<warps_m, warps_n, wm, wn, stages, true, true, aligned>)           \
    KERNEL(name##_tn, min_blocks, TensorProduct<warps_m, warps_n, wm, wn, stages, false, false, aligned>)

TENSOR_KERNELS(gemm_tensor_128x256, 1, 2, 4, 64, 64, 4, true)
TENSOR_KERNELS(gemm_tensor_128x128, 2, 2, 2, 64, 64, 4, true)
TENSOR_KERNELS(gemm_tensor_64x64, 4, 2, 2, 32, 32, 4, true)
TENSOR_KERNELS(gemm_tensor_plain, 2, 2, 2, 32, 32, 4, false)
