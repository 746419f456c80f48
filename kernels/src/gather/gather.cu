// Gather and its transpose: whole rows are copied or added, and every row of the output is written by one thread a
// column, so no order is left open.
#include "runtime/device.cuh"

// y[b, p, :] = x[b, index[p], :], zeros where the index is -1 (the only negative one that the host lets through).
extern "C" __global__ void gather_forward(Operand x, Operand index, Operand y, uint64_t batch, uint64_t rows,
                                          uint64_t picks, uint64_t width, uint32_t vectors) {
    const int32_t* indices = static_cast<const int32_t*>(index.address);
    const size_t first = size_t(blockIdx.y) * blockDim.x + threadIdx.x, step = size_t(gridDim.y) * blockDim.x;
    size_t row = size_t(blockIdx.x) * blockDim.y + threadIdx.y;
    for (; row < batch * picks; row += size_t(gridDim.x) * blockDim.y) {
        const size_t item = row / picks;
        const int32_t pick = indices[row - item * picks];
        const size_t from = pick < 0 ? 0 : (item * rows + pick) * width, to = row * width;
        if (vectors) {
            const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            for (size_t c = first; c < width / 4; c += step)
                store4(y, to / 4 + c, pick < 0 ? zero : load4(x, from / 4 + c));
        } else {
            for (size_t c = first; c < width; c += step) store(y, to + c, pick < 0 ? 0.0f : load(x, from + c));
        }
    }
}

// dx[b, i, :] += sum of dy[b, p, :] over the picks p of row i, which are order[starts[i] .. starts[i + 1]], ascending.
// Rows that nobody picked are not touched.
extern "C" __global__ void gather_backward(Operand dy, Operand starts, Operand order, Operand dx, uint64_t batch,
                                           uint64_t rows, uint64_t picks, uint64_t width, uint32_t vectors) {
    const int32_t* start = static_cast<const int32_t*>(starts.address);
    const int32_t* pick = static_cast<const int32_t*>(order.address);
    const size_t first = size_t(blockIdx.y) * blockDim.x + threadIdx.x, step = size_t(gridDim.y) * blockDim.x;
    size_t row = size_t(blockIdx.x) * blockDim.y + threadIdx.y;
    for (; row < batch * rows; row += size_t(gridDim.x) * blockDim.y) {
        const size_t item = row / rows, i = row - item * rows, to = row * width;
        const int32_t begin = start[i], end = start[i + 1];
        if (begin == end) continue;
        if (vectors) {
            for (size_t c = first; c < width / 4; c += step) {
                float4 sum = load4(dx, to / 4 + c);
#pragma unroll 4
                for (int32_t k = begin; k < end; k++) {
                    const float4 term = load4(dy, (item * picks + pick[k]) * (width / 4) + c);
                    sum = make_float4(sum.x + term.x, sum.y + term.y, sum.z + term.z, sum.w + term.w);
                }
                store4(dx, to / 4 + c, sum);
            }
        } else {
            for (size_t c = first; c < width; c += step) {
                float sum = load(dx, to + c);
                for (int32_t k = begin; k < end; k++) sum += load(dy, (item * picks + pick[k]) * width + c);
                store(dx, to + c, sum);
            }
        }
    }
}
