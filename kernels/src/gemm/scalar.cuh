// Products in exact f32, one fused multiply-add a term in the order of the terms; bf16 operands are widened when they
// are staged.
//
// A block computes T x T elements with T * T / 64 threads, of which each has 8 x 8: rows `4 y .. 4 y + 4` of both
// halves of the tile, and columns likewise. Tiles of 16 terms alternate between two buffers.
#pragma once
#include "gemm/epilogue.cuh"
#include "gemm/staging.cuh"

// Lines are terms of one row. A thread reads rows 4 y + i for one i at a time: lines are in the order i, y, so that
// neighbours in y read neighbouring lines, and pairs of lines have their chunks in different orders as in tensor.cuh.
template <int T>
struct TermsInLineF32 {
    static constexpr bool K_MAJOR = true;
    static constexpr int ELEMENTS = 4, LINE = 4, BYTES = T * 64, PERIOD = 8;
    __device__ static uint32_t row(uint32_t line) { return line % (T / 4) * 4 + line / (T / 4); }
    __device__ static uint32_t offset(uint32_t line, uint32_t chunk) {
        return line * 64 + ((chunk ^ (line / 2 % 4)) * 16);
    }
    // Terms `2 pair .. 2 pair + 2` of a thread's i-th row.
    __device__ static float2 terms(const char* tile, uint32_t y, int i, int pair) {
        // Lines from one i to another are a multiple of eight, after which the orders of chunks repeat.
        const int lines = i % 4 * (T / 4) + i / 4 * (T / 8);
        return *reinterpret_cast<const float2*>(tile + offset(y, pair / 2) + pair % 2 * 8 + lines * 64);
    }
};

// Lines are rows of one term.
template <int T>
struct RowsInLineF32 {
    static constexpr bool K_MAJOR = false;
    static constexpr int ELEMENTS = 4, LINE = T / 4, BYTES = T * 64, PERIOD = 1;
    __device__ static uint32_t offset(uint32_t line, uint32_t chunk) { return line * T * 4 + chunk * 16; }
    // A thread's rows in half `half`, of one term.
    __device__ static float4 rows(const char* tile, uint32_t y, int half, int term) {
        return *reinterpret_cast<const float4*>(tile + offset(term, half * (T / 8) + y));
    }
};

template <int T, bool K_MAJOR>
using LinesF32 = std::conditional_t<K_MAJOR, TermsInLineF32<T>, RowsInLineF32<T>>;

// A thread's eight rows of two terms, as [term][row].
template <class Tile>
__device__ __forceinline__ void read_pair(float (&x)[2][8], const char* tile, uint32_t y, int pair) {
    if constexpr (Tile::K_MAJOR) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float2 v = Tile::terms(tile, y, i, pair);
            x[0][i] = v.x, x[1][i] = v.y;
        }
    } else {
#pragma unroll
        for (int term = 0; term < 2; term++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float4 v = Tile::rows(tile, y, half, pair * 2 + term);
                float* to = &x[term][half * 4];
                to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
            }
    }
}

template <int T, bool A_K_MAJOR, bool B_K_MAJOR, bool ASYNCHRONOUS>
struct ScalarProduct {
    static constexpr int THREADS = T * T / 64, TERMS = 16;
    using A = LinesF32<T, A_K_MAJOR>;
    using B = LinesF32<T, B_K_MAJOR>;
    static constexpr uint32_t STAGE = A::BYTES + B::BYTES;

    float sums[8][8] = {};

    // A warp has 4 x 8 threads: 32 columns side by side, and few different rows to read.
    __device__ static uint32_t x() { return threadIdx.x % 8 + threadIdx.x / 32 % (T / 64) * 8; }
    __device__ static uint32_t y() { return threadIdx.x % 32 / 8 + threadIdx.x / 32 / (T / 64) * 4; }

    __device__ __forceinline__ void run(const Product& p, char* shared) {
        const Block block = this_block<T, T>(p);
        const int length = int(block.end - block.begin), tiles = (length + TERMS - 1) / TERMS;
        if constexpr (ASYNCHRONOUS) {
            Asynchronous<A, THREADS, B_K_MAJOR> a(matrix_a(p, block), block.row, block.begin);
            Asynchronous<B, THREADS, A_K_MAJOR> b(matrix_b(p, block), block.column, block.begin);
            const uint32_t buffers = shared_address(shared);
            if (tiles > 0) a.copy(buffers, length), b.copy(buffers + A::BYTES, length);
            for (int tile = 0; tile < tiles; tile++) {
                commit_copies();
                wait_for_copies<0>();
                // Now everybody's copies are there, and the other buffer has been read.
                __syncthreads();
                if (tile + 1 < tiles) {
                    const uint32_t to = buffers + (tile + 1) % 2 * STAGE;
                    a.copy(to, length - (tile + 1) * TERMS);
                    b.copy(to + A::BYTES, length - (tile + 1) * TERMS);
                }
                add_up(shared + tile % 2 * STAGE);
            }
        } else {
            Plain<A, THREADS> a(matrix_a(p, block), block.row);
            Plain<B, THREADS> b(matrix_b(p, block), block.column);
            if (tiles > 0) a.fetch(block.begin, length), b.fetch(block.begin, length);
            for (int tile = 0; tile < tiles; tile++) {
                char* buffer = shared + tile % 2 * STAGE;
                a.put(buffer);
                b.put(buffer + A::BYTES);
                // Now the tile is there, and the other buffer has been read.
                __syncthreads();
                if (tile + 1 < tiles) {
                    a.fetch(block.begin + (tile + 1) * TERMS, length - (tile + 1) * TERMS);
                    b.fetch(block.begin + (tile + 1) * TERMS, length - (tile + 1) * TERMS);
                }
                add_up(buffer);
            }
        }
        store(p);
    }

    // Two terms at a time: of eight rows that is what there are registers for, if two blocks are to fit.
    __device__ __forceinline__ void add_up(const char* buffer) {
        const char* buffer_b = buffer + A::BYTES;
#pragma unroll 1
        for (int pair = 0; pair < TERMS / 2; pair++) {
            float a[2][8], b[2][8];
            read_pair<A>(a, buffer, y(), pair);
            read_pair<B>(b, buffer_b, x(), pair);
#pragma unroll
            for (int term = 0; term < 2; term++)
#pragma unroll
                for (int i = 0; i < 8; i++)
#pragma unroll
                    for (int j = 0; j < 8; j++) sums[i][j] = fmaf(a[term][i], b[term][j], sums[i][j]);
        }
    }

    // Four columns at a time in one loop, so that the epilogue is there once.
    __device__ __forceinline__ void store(const Product& p) {
        const Block block = this_block<T, T>(p);
#pragma unroll 1
        for (int part = 0; part < 16; part++) {
            float4 v = {};
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    if (i * 2 + half == part) {
                        const float* sum = &sums[i][half * 4];
                        v = make_float4(sum[0], sum[1], sum[2], sum[3]);
                    }
            const int i = part / 2, half = part % 2;
            const uint32_t row = block.row + i / 4 * (T / 2) + y() * 4 + i % 4;
            leave(p, block, row, block.column + half * (T / 2) + x() * 4, v);
        }
    }
};
