// What all kernels of attention are told: extents, and which keys are attended to.
#pragma once
#include "runtime/device.cuh"

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

// `Problem` in cuda.rs.
struct Problem {
    uint32_t heads, queries, keys, width;
    float scale;
    // Whether rows of all operands start at a multiple of 16 bytes.
    uint32_t vectors;
    // Bit `j % 32` of word `[batch][j / 32]`: whether the sequence attends to key j. Null: it attends to all.
    const uint32_t* attended;
};

// Which of several tokens' tiles of one head a block works on. Neighbouring blocks share a head, and so its tokens in
// the second-level cache.
struct Place {
    uint32_t batch, head, first;
};

// Block `blockIdx.x` of tiles of `tile` out of `tokens` tokens.
__device__ __forceinline__ Place place(const Problem& problem, uint32_t tokens, uint32_t tile) {
    const uint32_t tiles = (tokens + tile - 1) / tile, row = blockIdx.x / tiles;
    return {row / problem.heads, row % problem.heads, blockIdx.x % tiles * tile};
}

// The tokens of one head of one sequence in `[batch, tokens, heads * width]`.
struct Head {
    Operand x;
    size_t origin, pitch;

    __device__ __forceinline__ Head(const Problem& problem, const Place& at, const Operand& x, uint32_t tokens)
        : x(x), pitch(size_t(problem.heads) * problem.width) {
        origin = size_t(at.batch) * tokens * pitch + size_t(at.head) * problem.width;
    }

    // The index of the first element of a token.
    __device__ __forceinline__ size_t at(uint32_t token) const { return origin + token * pitch; }
};

// Where the row `[batch, heads, queries]` of a head begins.
__device__ __forceinline__ size_t row_of(const Problem& problem, const Place& at) {
    return (size_t(at.batch) * problem.heads + at.head) * problem.queries;
}

// The lowest `count` bits.
__device__ __forceinline__ uint64_t low_bits(uint32_t count) { return count >= 64 ? ~0ull : (1ull << count) - 1; }

// Bit i: whether token `first + i` is one of `tokens`, for i below `count` <= 64.
__device__ __forceinline__ uint64_t present(uint32_t tokens, uint32_t first, uint32_t count) {
    const uint32_t left = first < tokens ? tokens - first : 0;
    return low_bits(left < count ? left : count);
}

// Bit i: whether key `first + i` is there and attended to, for i below `count` <= 64; `first + count` does not cross
// more than one multiple of 32.
__device__ __forceinline__ uint64_t attended(const Problem& problem, uint32_t batch, uint32_t first, uint32_t count) {
    const uint64_t there = present(problem.keys, first, count);
    if (problem.attended == nullptr || there == 0) return there;
    const uint32_t words = (problem.keys + 31) / 32, word = first / 32;
    const uint32_t* row = problem.attended + size_t(batch) * words;
    uint64_t bits = row[word];
    if (count > 32 && word + 1 < words) bits |= uint64_t(row[word + 1]) << 32;
    return bits >> (first % 32) & there;
}

// p = 2^x in one instruction, with a relative error of 2^-22; below 2^-126 it is 0. Kept for probabilities that are
// rounded to bf16 beside a sum of at least 1, where such a probability is nothing.
__device__ __forceinline__ float exp2_fast(float x) {
    float p;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(p) : "f"(x));
    return p;
}
