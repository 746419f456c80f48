// What happens to the sums on their way into `c`, the same for every kernel: four elements of one row at a time.
#pragma once
#include "gemm/product.cuh"

// `u / (1 + e^-2t)` is `u/2 (1 + tanh t)` without cancellation; where the power of two overflows, it is zero.
__device__ __forceinline__ float gelu_tanh(float u) {
    constexpr float LINEAR = -2.302208198f;  // -2 sqrt(2 / pi) log2(e)
    return u / (1.0f + exp2f(u * fmaf(u * u, LINEAR * 0.044715f, LINEAR)));
}

__device__ __forceinline__ float activate(uint32_t activation, float u) {
    switch (activation) {
        case 1: return gelu_tanh(u);
        case 2: return 0.5f * u * erfcf(u * -0.70710678f);
        case 3: return u / (1.0f + expf(-u));
        default: return u;
    }
}

// Elements `column .. column + 4` of row `row`, as many of them as there are, of the product that `c` begins with.
__device__ __forceinline__ void finish(const Product& p, const Operand& c, uint32_t row, uint32_t column, float4 v) {
    const int count = min(p.n - column, 4u);
    const size_t at = size_t(row) * p.n + column;
    if (p.bias.present) {
        const float4 bias = load_some(p.bias, column, count, p.vectors);
        v.x += bias.x, v.y += bias.y, v.z += bias.z, v.w += bias.w;
    }
    if (p.preactivation.present) store_some(p.preactivation, at, count, p.vectors, v);
    if (p.activation) {
        v.x = activate(p.activation, v.x);
        v.y = activate(p.activation, v.y);
        v.z = activate(p.activation, v.z);
        v.w = activate(p.activation, v.w);
    }
    if (p.gate.present) {
        const float4 gate = load_some(p.gate, size_t(row / p.rows_per_group) * p.n + column, count, p.vectors);
        v.x *= gate.x, v.y *= gate.y, v.z *= gate.z, v.w *= gate.w;
    }
    if (p.residual.present) {
        const float4 residual = load_some(p.residual, at, count, p.vectors);
        v.x += residual.x, v.y += residual.y, v.z += residual.z, v.w += residual.w;
    }
    if (p.accumulate) {
        const float4 old = load_some(c, at, count, p.vectors);
        v.x += old.x, v.y += old.y, v.z += old.z, v.w += old.w;
    }
    store_some(c, at, count, p.vectors, v);
}

// Where a block leaves four elements that it computed: in `c`, or with the partial products.
__device__ __forceinline__ void leave(const Product& p, const Block& block, uint32_t row, uint32_t column, float4 v) {
    if (row >= p.m || column >= p.n) return;
    if (p.chunks == 1) {
        finish(p, from(p.c, block.batch * size_t(p.stride_c)), row, column, v);
        return;
    }
    const size_t part = size_t(block.batch) * p.chunks + block.chunk;
    const size_t at = (part * p.m + row) * p.n + column;
    store_some(p.partials, at, min(p.n - column, 4u), p.n % 4 == 0, v);
}
