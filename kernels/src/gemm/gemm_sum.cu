// What is done besides products: the sum of chunks, and panels.
#include "gemm/epilogue.cuh"
#include "runtime/elements.cuh"

// Adds up the chunks of all sums, in their order.
extern "C" __global__ void gemm_sum(Product p) {
    const uint32_t across = (p.n + 3) / 4;
    const size_t rows = size_t(p.count) * p.m, matrix = size_t(p.m) * p.n;
    for (size_t item = thread_index(); item < rows * across; item += thread_count()) {
        const uint32_t column = item % across * 4, row = item / across % p.m, batch = item / across / p.m;
        const size_t first = size_t(batch) * p.chunks * matrix + size_t(row) * p.n + column;
        const int count = min(p.n - column, 4u);
        float4 sum = load_some(p.partials, first, count, p.n % 4 == 0);
        for (uint32_t chunk = 1; chunk < p.chunks; chunk++) {
            const float4 v = load_some(p.partials, first + chunk * matrix, count, p.n % 4 == 0);
            sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
        }
        finish(p, from(p.c, batch * size_t(p.stride_c)), row, column, sum);
    }
}

// The panels of a GPU: the weight as it is, in f32.
extern "C" __global__ void gemm_panels(Operand b, Operand panels, uint64_t n, uint32_t vectors) {
    map({b}, panels, n, vectors, [](float (&x)[1]) { return x[0]; });
}
