// Maps over the elements of a matrix whose operands share rows, or lie in other rows than the result.
#pragma once
#include "runtime/elements.cuh"

// y[row, c] = f(x[0][start[0] + c], x[1][start[1] + c], ..) for all rows and all c below width, by all threads of a
// grid that `Grid::matrix` gives. `begin(row, start)` says where the operands of a row begin, and returns `f`: what is
// the same for the whole row is read there, once a thread. `vectors`: the width is a multiple of four, and so is every
// operand's address, in elements.
template <int V, int N, class Begin>
__device__ __forceinline__ void map_rows_by(const Operand (&x)[N], const Operand& y, size_t rows, size_t width,
                                            Begin begin) {
    const size_t first = size_t(blockIdx.y) * blockDim.x + threadIdx.x, step = size_t(gridDim.y) * blockDim.x;
    size_t row = size_t(blockIdx.x) * blockDim.y + threadIdx.y;
    for (; row < rows; row += size_t(gridDim.x) * blockDim.y) {
        size_t start[N];
        const auto f = begin(row, start);
        const size_t out = row * width / V;
        for (size_t c = first; c < width / V; c += step) {
            size_t at[N];
#pragma unroll
            for (int k = 0; k < N; k++) at[k] = start[k] / V + c;
            map_elements<V>(x, at, y, out + c, f);
        }
    }
}

template <int N, class Begin>
__device__ __forceinline__ void map_rows(const Operand (&x)[N], const Operand& y, size_t rows, size_t width,
                                         uint32_t vectors, Begin begin) {
    if (vectors)
        map_rows_by<4>(x, y, rows, width, begin);
    else
        map_rows_by<1>(x, y, rows, width, begin);
}
