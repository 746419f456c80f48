// What a lane does with its part of a product: sums over a row, columns that do not count, the way to memory.
#pragma once
#include "attention/mma.cuh"

// Over the four lanes that share a row.
__device__ __forceinline__ float quad_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffff, v, 2));
}

__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(0xffffffff, v, 1);
    return v + __shfl_xor_sync(0xffffffff, v, 2);
}

// Which keys of a tile a lane's columns belong to, from bit 0 on.
__device__ __forceinline__ uint64_t lane_columns(uint64_t keep) { return keep >> (threadIdx.x % 4 * 2); }

// Replaces what belongs to columns that `keep`, from lane_columns, does not have.
template <int TILES, int PIECES>
__device__ __forceinline__ void replace_columns(float (&s)[TILES][PIECES][4], uint64_t keep, float value) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < PIECES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (!(keep >> (8 * n + i % 2) & 1)) s[m][n][i] = value;
}

// Writes two neighbouring columns of a token, those that the head has. `pairs`: both at once, where that is allowed.
__device__ __forceinline__ void store_columns(const Operand& y, size_t at, uint32_t column, uint32_t width, bool pairs,
                                              float low, float high) {
    if (pairs && column < width) {
        if (y.dtype == BF16)
            *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(y.address) + at + column) = pack(low, high);
        else
            *reinterpret_cast<float2*>(static_cast<float*>(y.address) + at + column) = make_float2(low, high);
        return;
    }
    if (column < width) store(y, at + column, low);
    if (column + 1 < width) store(y, at + column + 1, high);
}

// Stores what a warp has of rows `first ..`, times `by`, where the rows are among `tokens`.
template <int TILES, int PIECES>
__device__ __forceinline__ void store_rows(const Problem& problem, const Head& y, uint32_t first, uint32_t tokens,
                                           uint32_t column, const float (&sum)[TILES][PIECES][4], float by) {
    const uint32_t lane = threadIdx.x % 32, bytes = y.x.dtype == BF16 ? 4 : 8;
    const bool pairs = problem.width % 2 == 0 && reinterpret_cast<uintptr_t>(y.x.address) % bytes == 0;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const uint32_t token = first + m * 16 + h * 8 + lane / 4;
            if (token >= tokens) continue;
#pragma unroll
            for (int n = 0; n < PIECES; n++) {
                const float low = sum[m][n][2 * h] * by, high = sum[m][n][2 * h + 1] * by;
                store_columns(y.x, y.at(token), column + n * 8 + lane % 4 * 2, problem.width, pairs, low, high);
            }
        }
}
