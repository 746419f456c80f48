// What the kernels of a product are given, and which part of it a block computes.
#pragma once
#include "runtime/device.cuh"

// `Product` in cuda.rs.
struct Product {
    Operand a, b, c;
    Operand partials;  // [batch, chunks, m, n] f32: where chunks of the sums wait for `gemm_sum`, if there are several
    Operand preactivation, bias, residual, gate;
    uint64_t stride_a, stride_b, stride_c;  // elements from one product of the batch to the next
    uint32_t m, n, k;
    uint32_t chunk, chunks;     // terms of a chunk, a multiple of 32, and how many chunks there are
    uint32_t rows_per_group;    // rows that share one of the gate
    uint32_t activation;        // `Activation` in mod.rs
    uint32_t accumulate;        // c += instead of c =
    uint32_t vectors;           // whether everything that has n columns is accessed by four at a time
    uint32_t vectors_a, vectors_b;
    uint32_t count;  // products
};

// The part of one product that a block computes: a tile of rows and columns, and a chunk of the sums.
struct Block {
    uint32_t row, column;  // the first ones
    uint32_t batch, chunk;
    uint32_t begin, end;  // the terms of the sums
};

// The block's number, found out anew by every call: what follows from it need not stay in registers during a main loop.
__device__ __forceinline__ uint32_t block_number() {
    uint32_t number;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(number));
    return number;
}

// Blocks are numbered so that those that run at the same time share operands in the second-level cache: down a group of
// eight tiles, then on to the next column of tiles.
template <int ROWS, int COLUMNS>
__device__ __forceinline__ Block this_block(const Product& p) {
    constexpr uint32_t GROUP = 8;
    const uint32_t down = (p.m + ROWS - 1) / ROWS, across = (p.n + COLUMNS - 1) / COLUMNS;
    const uint32_t number = block_number(), part = number / (down * across), tile = number % (down * across);
    const uint32_t first = tile / (GROUP * across) * GROUP, within = tile % (GROUP * across);
    const uint32_t height = min(down - first, GROUP);
    Block block;
    block.row = (first + within % height) * ROWS;
    block.column = within / height * COLUMNS;
    block.batch = part / p.chunks;
    block.chunk = part % p.chunks;
    block.begin = block.chunk * p.chunk;
    block.end = min(p.k, block.begin + p.chunk);
    return block;
}

// `x` from element `first` on.
__device__ __forceinline__ Operand from(const Operand& x, size_t first) {
    return {static_cast<char*>(x.address) + first * (x.dtype == BF16 ? 2 : 4), x.dtype, x.present};
}

// Elements `i .. i + count` of a row, at most four; zeros for the others. `vectors`: there are all four, or none, and
// they begin at a multiple of four.
__device__ __forceinline__ float4 load_some(const Operand& x, size_t i, int count, uint32_t vectors) {
    if (count <= 0) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (vectors) return load4(x, i / 4);
    float4 v = make_float4(load(x, i), 0.0f, 0.0f, 0.0f);
    if (count > 1) v.y = load(x, i + 1);
    if (count > 2) v.z = load(x, i + 2);
    if (count > 3) v.w = load(x, i + 3);
    return v;
}

__device__ __forceinline__ void store_some(const Operand& y, size_t i, int count, uint32_t vectors, float4 v) {
    if (vectors) return store4(y, i / 4, v);
    store(y, i, v.x);
    if (count > 1) store(y, i + 1, v.y);
    if (count > 2) store(y, i + 2, v.z);
    if (count > 3) store(y, i + 3, v.w);
}

// One kernel, which computes a `product`: `min_blocks` of its blocks must fit into a multiprocessor's registers.
#define KERNEL(name, min_blocks, ...)                                                                             \
    extern "C" __global__ void __launch_bounds__((__VA_ARGS__::THREADS), min_blocks) name(Product p) {            \
        extern __shared__ __align__(1024) char shared[];                                                          \
        __VA_ARGS__ product;                                                                                      \
        product.run(p, shared);                                                                                   \
    }
