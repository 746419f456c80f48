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
