// Sums over the rows of each group of a matrix, column by column, in an order that depends on the shape only.
//
// A group of many rows is cut into pieces. A block takes a piece and some columns; its threads along y take turns at
// the rows, and their sums are added in halves. Neighbouring threads along x have neighbouring columns, so every access
// is coalesced. Where a group is one piece its sum is added to the accumulator; otherwise it is written to a row of
// partial sums, over which row_sums.cu sums once more. `RowSums` in row_sums.rs chooses pieces, blocks and scratch.
//
// Each thread has some rows on their way before it needs the first: a result of the same pass is stored between, and
// the compiler cannot move the loads of the next row above that. A first version had one column a thread: where a group
// is one row it took 2.6 M warp instructions for the gradient of a gate `[1024, 384]`; with four columns it takes 0.6 M.
#pragma once
#include "runtime/elements.cuh"

// `RowSums` in row_sums.rs.
struct RowSums {
    uint64_t groups, rows_per_group, width;
    uint64_t pieces, rows_per_piece;
    uint32_t vectors;  // four columns a thread: the width and all addresses are multiples of four elements
};

// The most threads that row_sums.rs asks for.
constexpr int ROW_SUMS_THREADS = 256;

// The operands of a pass: `[rows, width]` each that is summed over, and what a group shares, `[groups, width]`. A result
// `y`, where it is present, has the same columns. `sums`, f32: the accumulator `[groups, width]` (`+=`) where a group is
// one piece, else `[groups, pieces, width]` (`=`).
template <int N>
struct RowOperands {
    Operand x[N], shared, y, sums;
};

// `f(a, s, y)` gives the term of an element from its operands and its group's (1 where there is none) and sets the
// result; `place(group, row)` is the row of the result.
template <int V, int N, class Place, class F>
__device__ __forceinline__ void row_sums_by(const RowSums& shape, const RowOperands<N>& on, Place place, F f) {
    constexpr int AHEAD = V == 4 ? 2 : 4;
    __shared__ float shared[V][ROW_SUMS_THREADS];
    const uint32_t mine = threadIdx.y * blockDim.x + threadIdx.x;
    const size_t width = shape.width / V;
    for (size_t part = blockIdx.x; part < shape.groups * shape.pieces; part += gridDim.x) {
        const size_t group = part / shape.pieces, base = group * shape.rows_per_group;
        const size_t first = (part - group * shape.pieces) * shape.rows_per_piece;
        const size_t left = shape.rows_per_group - first;
        const size_t end = base + first + (left < shape.rows_per_piece ? left : shape.rows_per_piece);
        for (size_t tile = size_t(blockIdx.y) * blockDim.x; tile < width; tile += size_t(gridDim.y) * blockDim.x) {
            const size_t column = tile + threadIdx.x;
            float sum[V] = {};
            if (column < width) {
                Elements<V> s;
#pragma unroll
                for (int j = 0; j < V; j++) s.x[j] = 1.0f;
                if (on.shared.present) s = Elements<V>(on.shared, group * width + column);
                for (size_t row = base + first + threadIdx.y; row < end; row += AHEAD * blockDim.y) {
                    Elements<V> v[AHEAD][N];
#pragma unroll
                    for (int k = 0; k < AHEAD; k++)
                        if (row + k * blockDim.y < end)
#pragma unroll
                            for (int n = 0; n < N; n++)
                                v[k][n] = Elements<V>(on.x[n], (row + k * blockDim.y) * width + column);
#pragma unroll
                    for (int k = 0; k < AHEAD; k++) {
                        if (row + k * blockDim.y >= end) break;
                        Elements<V> y;
#pragma unroll
                        for (int j = 0; j < V; j++) {
                            float a[N];
#pragma unroll
                            for (int n = 0; n < N; n++) a[n] = v[k][n].x[j];
                            sum[j] += f(a, s.x[j], y.x[j]);
                        }
                        if (on.y.present) y.put(on.y, place(group, row + k * blockDim.y) * width + column);
                    }
                }
            }
            if (blockDim.y > 1) {
#pragma unroll
                for (int j = 0; j < V; j++) shared[j][mine] = sum[j];
                __syncthreads();
                for (uint32_t half = blockDim.y / 2; half > 0; half /= 2) {
#pragma unroll
                    for (int j = 0; j < V; j++)
                        if (threadIdx.y < half) shared[j][mine] = sum[j] += shared[j][mine + half * blockDim.x];
                    __syncthreads();
                }
            }
            if (threadIdx.y == 0 && column < width) {
                Elements<V> to;
                if (shape.pieces == 1) to = Elements<V>(on.sums, part * width + column);
#pragma unroll
                for (int j = 0; j < V; j++) to.x[j] = shape.pieces == 1 ? to.x[j] + sum[j] : sum[j];
                to.put(on.sums, part * width + column);
            }
        }
    }
}

// All threads of a grid that row_sums.rs gives call this.
template <int N, class Place, class F>
__device__ __forceinline__ void row_sums(const RowSums& shape, const RowOperands<N>& on, Place place, F f) {
    if (shape.vectors)
        row_sums_by<4>(shape, on, place, f);
    else
        row_sums_by<1>(shape, on, place, f);
}
