// Products of 64 by 64 scores in f32, for operands of any type, width and alignment. 256 threads make a square of 16 by
// 16; thread (tx, ty) has rows `4 ty ..` and columns `4 tx ..` of the scores.
#pragma once
#include "attention/problem.cuh"

namespace fp32 {

constexpr int SIDE = 64, THREADS = 256;
// Columns of the operands that are in shared memory at a time, transposed; floats between rows of shared memory, which
// keeps 16-byte reads aligned and lets both directions of the transposition write without bank conflicts.
constexpr int DEPTH = 32, ROW = SIDE + 4;

struct Shared {
    // Both operands of `scores`, transposed, or the right operand of `add_product`: 64 tokens of at most 64 columns.
    float operands[2 * DEPTH * ROW];
    // The left operand of `add_product`, transposed; the score of column `4 tx + j` in row `16 j + tx`.
    float left[SIDE * ROW];
};

// 64 tokens of a head from `first` on; those whose bit is not set count as zeros, and are not read.
struct Rows {
    Head head;
    uint32_t first;
    uint64_t keep;

    __device__ __forceinline__ float at(uint32_t row, uint32_t column) const {
        return keep >> row & 1 ? load(head.x, head.at(first + row) + column) : 0.0f;
    }
};

__device__ __forceinline__ uint32_t column_of() { return threadIdx.x % 16; }
__device__ __forceinline__ uint32_t row_of() { return threadIdx.x / 16; }

// `depth` columns from `column` on, transposed: a warp takes four rows by eight columns at a time.
__device__ __forceinline__ void transpose(float* to, const Rows& rows, uint32_t column, uint32_t depth) {
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int turn = 0; turn < 8; turn++) {
        const uint32_t piece = turn * 8 + warp, row = piece / 4 * 4 + lane / 8, k = piece % 4 * 8 + lane % 8;
        if (k < depth) to[k * ROW + row] = rows.at(row, column + k);
    }
}

// s = x y^T
__device__ __forceinline__ void scores(float (&s)[4][4], Shared& shared, uint32_t width, const Rows& x, const Rows& y) {
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = 0.0f;
    for (uint32_t column = 0; column < width; column += DEPTH) {
        const uint32_t depth = min(width - column, DEPTH);
        __syncthreads();
        transpose(shared.operands, x, column, depth);
        transpose(shared.operands + DEPTH * ROW, y, column, depth);
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < depth; k++) {
            const float* at = shared.operands + k * ROW;
            const float4 a = *reinterpret_cast<const float4*>(at + 4 * row_of());
            const float4 b = *reinterpret_cast<const float4*>(at + DEPTH * ROW + 4 * column_of());
            const float left[] = {a.x, a.y, a.z, a.w}, right[] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) s[i][j] = fmaf(left[i], right[j], s[i][j]);
        }
    }
}

// Makes scores the left operand of `add_product`. The barriers of `scores` lie behind the last `add_product`, whose left
// operand may so be overwritten; where there are none between, the caller has one.
__device__ __forceinline__ void put(Shared& shared, const float (&s)[4][4]) {
#pragma unroll
    for (int j = 0; j < 4; j++)
        *reinterpret_cast<float4*>(shared.left + (16 * j + column_of()) * ROW + 4 * row_of()) =
            make_float4(s[0][j], s[1][j], s[2][j], s[3][j]);
}

// What a thread has of a block's results: rows `4 ty ..`, and of each 64 columns the four from `4 tx` on.
template <int COLUMNS>
struct Sums {
    static constexpr int PIECES = COLUMNS / SIDE;
    float of[PIECES][4][4] = {};

    // += left y, for columns from `first` on.
    __device__ __forceinline__ void add_product(Shared& shared, uint32_t width, const Rows& y, uint32_t first) {
        const float* right = shared.operands + 4 * column_of();
        const float* left = shared.left + 4 * row_of();
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            const uint32_t column = first + piece * SIDE;
            if (column >= width) break;
            __syncthreads();
#pragma unroll 4
            for (int i = threadIdx.x; i < SIDE * SIDE; i += THREADS) {
                const uint32_t row = i / SIDE, k = i % SIDE;
                shared.operands[row * ROW + k] = column + k < width ? y.at(row, column + k) : 0.0f;
            }
            __syncthreads();
#pragma unroll 8
            for (int r = 0; r < SIDE; r++) {
                const float4 a = *reinterpret_cast<const float4*>(left + r * ROW);
                const float4 b = *reinterpret_cast<const float4*>(right + (r % 16 * 4 + r / 16) * ROW);
                const float rows[] = {a.x, a.y, a.z, a.w}, columns[] = {b.x, b.y, b.z, b.w};
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) of[piece][i][j] = fmaf(rows[i], columns[j], of[piece][i][j]);
            }
        }
    }

    __device__ __forceinline__ void clear(int row) {
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++)
#pragma unroll
            for (int j = 0; j < 4; j++) of[piece][row][j] = 0.0f;
    }

    // Stores the rows that are among `tokens`, each times its factor.
    __device__ __forceinline__ void store(const Problem& problem, const Head& y, uint32_t first, uint32_t tokens,
                                          uint32_t column, const float (&by)[4]) const {
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const uint32_t token = first + 4 * row_of() + i;
                    const uint32_t at = column + piece * SIDE + 4 * column_of() + j;
                    if (token < tokens && at < problem.width)
                        ::store(y.x, y.at(token) + at, of[piece][i][j] * by[i]);
                }
    }
};

// Over the sixteen threads that share rows.
__device__ __forceinline__ float row_max(float v) {
#pragma unroll
    for (int lane = 8; lane > 0; lane /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, lane));
    return v;
}

__device__ __forceinline__ float row_sum(float v) {
#pragma unroll
    for (int lane = 8; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffff, v, lane);
    return v;
}

}  // namespace fp32
