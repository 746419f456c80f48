// Attention on a GPU (FlashAttention-2, Dao 2023, arXiv:2307.08691): forward with the logarithm of its sums, backward
// from it without atomics. mma.cuh, fragment.cuh, forward.cuh and backward.cuh are for bf16 on tensor cores,
// fp32_tile.cuh and fp32.cuh for everything else; here the kernels get their names, tiles and blocks a multiprocessor
// (which bound the registers: no kernel spills on sm_80, sm_90 or sm_100).
//
// What bounds forward on an A100, by counting sm_80's instructions in the loop (all keys attended to, maxima
// unchanged). A warp with 32 queries and 32 keys, in cycles of its quarter of the multiprocessor; shared memory serves
// all four:
//
//   | width | mma | ldmatrix | ffma+fadd+fmul | ex2 | max | convert | all || tensor | issue | ex2 | shared |
//   |    64 |  64 |       24 |             72 |  36 |  44 |      16 | 398 ||    512 |   398 | 288 |    448 |
//   |   128 | 128 |       48 |             72 |  36 |  44 |      16 | 511 ||   1024 |   511 | 288 |    896 |
//
// An mma takes the tensor pipe for 8 cycles, ex2 its unit for 8, ldmatrix shared memory for 4. So the tensor pipe is
// the longest, and three (width 64) or two warps (128) a quarter hide a warp's exponentials behind the others'
// products: the bound is the peak of mma.sync times the share of full waves. One score costs one fma, one ex2, one add,
// one maximum and half a conversion, since the scale and log2(e) are one factor. A rescaling of the sums (64 or 128
// fmul) is skipped where no maximum of the warp's rows changed.
//
// Other tiles: at width 64, tiles of 64 keys fit 168 registers too, but three blocks then want 165 KiB of shared memory
// where an A100 has 164. 16 queries a warp would make ldmatrix as long as the products. Backward at 96 columns and more
// has only 16 tokens a warp (dk and dv take the registers) and is bound by shared memory: at width 128, per 32 queries,
// 1280 cycles of it for 1024 of products.
//
// Shared memory has no bank conflicts (counted on the emulator; at width 96 staging has a twentieth more passes than
// ideal). Not run on a GPU yet.
#include "attention/backward.cuh"
#include "attention/forward.cuh"
#include "attention/fp32.cuh"

// BLOCKS: of a multiprocessor at a time, which bounds the registers.
#define FORWARD(WIDTH, TILES, KEYS, BLOCKS)                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                     \
        attention_forward_##WIDTH(Problem problem, Operand q, Operand k, Operand v, Operand out, float* lse) {         \
        forward<WIDTH, TILES, KEYS>(problem, q, k, v, out, lse);                                                       \
    }

FORWARD(32, 2, 64, 3)
FORWARD(64, 2, 32, 3)
FORWARD(96, 2, 32, 2)
FORWARD(128, 2, 32, 2)
FORWARD(256, 1, 32, 1)

#define BACKWARD_KEYS(WIDTH, TILES, QUERIES, SPLIT, BLOCKS)                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                     \
        attention_backward_keys_##WIDTH(Problem problem, Operand q, Operand k, Operand v, Operand dout,               \
                                        const float2* statistics, Operand dk, Operand dv) {                          \
        backward_keys<WIDTH, TILES, QUERIES, SPLIT>(problem, q, k, v, dout, statistics, dk, dv);                      \
    }

BACKWARD_KEYS(32, 2, 32, 1, 2)
BACKWARD_KEYS(64, 2, 32, 1, 2)
BACKWARD_KEYS(96, 1, 32, 1, 2)
BACKWARD_KEYS(128, 1, 32, 1, 2)
BACKWARD_KEYS(256, 1, 16, 2, 1)

#define BACKWARD_QUERIES(WIDTH, TILES, KEYS, BLOCKS)                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                     \
        attention_backward_queries_##WIDTH(Problem problem, Operand q, Operand k, Operand v, Operand dout,            \
                                           const float2* statistics, Operand dq) {                                   \
        backward_queries<WIDTH, TILES, KEYS>(problem, q, k, v, dout, statistics, dq);                                 \
    }

BACKWARD_QUERIES(32, 2, 64, 2)
BACKWARD_QUERIES(64, 2, 64, 2)
BACKWARD_QUERIES(96, 1, 32, 2)
BACKWARD_QUERIES(128, 1, 32, 2)
BACKWARD_QUERIES(256, 1, 16, 1)

#define FP32(COLUMNS)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(fp32::THREADS)                                                       \
        attention_forward_fp32_##COLUMNS(Problem problem, Operand q, Operand k, Operand v, Operand out, float* lse) {  \
        fp32::forward<COLUMNS>(problem, q, k, v, out, lse);                                                           \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(fp32::THREADS)                                                       \
        attention_backward_keys_fp32_##COLUMNS(Problem problem, Operand q, Operand k, Operand v, Operand dout,        \
                                               const float2* statistics, Operand dk, Operand dv) {                   \
        fp32::backward_keys<COLUMNS>(problem, q, k, v, dout, statistics, dk, dv);                                     \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(fp32::THREADS)                                                       \
        attention_backward_queries_fp32_##COLUMNS(Problem problem, Operand q, Operand k, Operand v, Operand dout,     \
                                                  const float2* statistics, Operand dq) {                            \
        fp32::backward_queries<COLUMNS>(problem, q, k, v, dout, statistics, dq);                                      \
    }

FP32(64)
FP32(128)

// Words of the keys that are attended to, as in Problem: one warp a word, from `mask[batch][keys]`.
extern "C" __global__ void attention_attended(const float* mask, uint32_t* words, uint32_t batch, uint32_t keys) {
    const size_t count = (size_t(keys) + 31) / 32, lane = threadIdx.x % 32;
    for (size_t i = thread_index() / 32; i < batch * count; i += thread_count() / 32) {
        const size_t key = i % count * 32 + lane;
        const uint32_t word = __ballot_sync(0xffffffff, key < keys && mask[i / count * keys + key] != 0.0f);
        if (lane == 0) words[i] = word;
    }
}

// `{lse / ln 2, dout . out}` of every query, one warp each. Where `rounded` is present, dout is rounded to bf16 for the
// tensor cores, written there, and used so: the sum of a query's probabilities times their gradients cancels with it.
extern "C" __global__ void attention_statistics(Problem problem, uint32_t batch, Operand out, Operand dout,
                                                const float* lse, float2* statistics, Operand rounded) {
    const size_t rows = size_t(batch) * problem.queries * problem.heads, lane = threadIdx.x % 32;
    for (size_t i = thread_index() / 32; i < rows; i += thread_count() / 32) {
        float sum = 0.0f;
        for (size_t j = i * problem.width + lane; j < (i + 1) * problem.width; j += 32) {
            float gradient = load(dout, j);
            if (rounded.present) {
                store(rounded, j, gradient);
                gradient = load(rounded, j);
            }
            sum = fmaf(gradient, load(out, j), sum);
        }
        sum = warp_sum(sum);
        const size_t token = i / problem.heads, head = i % problem.heads;
        const size_t row = (token / problem.queries * problem.heads + head) * problem.queries + token % problem.queries;
        if (lane == 0) statistics[row] = make_float2(lse[row] * LOG2_E, sum);
    }
}
