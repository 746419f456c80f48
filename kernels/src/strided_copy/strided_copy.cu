// A copy between views. A thread takes one element; neighbours in the last dimension are neighbours in the warp, so views
// whose last dimension has no gaps are read and written in whole sectors.
#include "runtime/device.cuh"

constexpr int RANK = 6;

struct Dims {
    uint64_t extents[RANK], x_strides[RANK], y_strides[RANK];
};

// y[i . y_strides] = x[i . x_strides] for each of the `n` indices of `dims.extents`
extern "C" __global__ void strided_copy(Operand x, Operand y, Dims dims, uint64_t n) {
    for (size_t index = thread_index(); index < n; index += thread_count()) {
        size_t rest = index, from = 0, to = 0;
#pragma unroll
        for (int axis = RANK - 1; axis >= 0; axis--) {
            const size_t extent = dims.extents[axis];
            size_t i = rest;
            // The first dimension takes what is left; most copies have few dimensions, and the division is dear.
            if (axis > 0 && extent > 1) {
                // 64-bit division only where the numbers ask for it.
                const bool small = (rest | extent) <= 0xffffffffu;
                const size_t quotient = small ? uint32_t(rest) / uint32_t(extent) : rest / extent;
                i = rest - quotient * extent;
                rest = quotient;
            } else if (axis > 0) {
                i = 0;
            }
            from += i * dims.x_strides[axis];
            to += i * dims.y_strides[axis];
        }
        store(y, to, load(x, from));
    }
}
