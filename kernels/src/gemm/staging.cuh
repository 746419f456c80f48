// How tiles of the operands come into shared memory.
//
// A tile holds ROWS rows of `a` (or columns of `b`) and 64 bytes of terms of each, in chunks of 16 bytes. How they lie,
// and in which order, a `Tile` says:
//
//   K_MAJOR   whether a line of the tile, what is contiguous, is terms of one row, or rows of one term
//   ELEMENTS  of a chunk
//   LINE      chunks of a line; a tile has `BYTES / 16 / LINE` lines
//   row(line) which row a line of terms is
//   offset(line, chunk) in bytes
//
// Rows past the last one are read from the last: what they give is never stored. Terms past the last one are zero.
#pragma once
#include <type_traits>

#include "gemm/product.cuh"

__device__ __forceinline__ uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

// 16 bytes, or zeros if `bytes` is 0, which arrive some time before `wait_for_copies` returns.
__device__ __forceinline__ void copy_chunk(uint32_t to, const char* from, uint32_t bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(to), "l"(__cvta_generic_to_global(from)), "r"(bytes) : "memory");
}

__device__ __forceinline__ void copy_whole_chunk(uint32_t to, const char* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(__cvta_generic_to_global(from)) : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all of this thread's groups but the last PENDING.
template <int PENDING>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

// One operand of one product of the batch.
struct Matrix {
    Operand data;      // from the first element on
    uint32_t rows, k;  // [rows, k], or [k, rows]
    uint32_t vectors;  // f32 kernels: whether lines begin at multiples of four elements
};

__device__ __forceinline__ Matrix matrix_a(const Product& p, const Block& block) {
    return {from(p.a, block.batch * size_t(p.stride_a)), p.m, p.k, p.vectors_a};
}

__device__ __forceinline__ Matrix matrix_b(const Product& p, const Block& block) {
    return {from(p.b, block.batch * size_t(p.stride_b)), p.n, p.k, p.vectors_b};
}

// What one thread copies of each tile.
template <class Tile, int THREADS>
struct Share {
    static constexpr int PASSES = Tile::BYTES / 16 / THREADS;
    // Lines from one pass to the next; a multiple of the lines after which a swizzle repeats.
    static constexpr int STEP = THREADS / Tile::LINE;
    static_assert(PASSES * THREADS * 16 == Tile::BYTES && STEP * Tile::LINE == THREADS && STEP % Tile::PERIOD == 0);

    __device__ static uint32_t line() { return threadIdx.x / Tile::LINE; }
    __device__ static uint32_t chunk() { return threadIdx.x % Tile::LINE; }
    __device__ static uint32_t offset() { return Tile::offset(line(), chunk()); }
    static constexpr int PASS_BYTES = STEP * Tile::LINE * 16;
};

// Copies that need no thread to wait, of lines that begin at multiples of 16 bytes. WHOLE: the number of terms is a
// multiple of a chunk's elements, since the other operand has them side by side.
template <class Tile, int THREADS, bool WHOLE>
struct Asynchronous : Share<Tile, THREADS> {
    using S = Share<Tile, THREADS>;
    static constexpr int E = Tile::ELEMENTS;
    const char* source;          // this thread's first chunk of the next tile
    uint32_t offset[S::PASSES];  // its others from there, in chunks: fits for matrices below 64 GiB
    size_t advance;              // bytes to the next tile

    __device__ __forceinline__ Asynchronous(const Matrix& x, uint32_t row, uint32_t begin) {
        size_t first;
        if constexpr (Tile::K_MAJOR) {
            uint32_t rows[S::PASSES];
#pragma unroll
            for (int i = 0; i < S::PASSES; i++) {
                rows[i] = min(row + Tile::row(S::line() + i * S::STEP), x.rows - 1);
                offset[i] = (rows[i] - rows[0]) * (x.k / E);
            }
            first = size_t(rows[0]) * x.k + begin + S::chunk() * E;
            advance = 64;
        } else {
            first = size_t(begin + S::line()) * x.rows + min(row + S::chunk() * E, x.rows - E);
            advance = size_t(64 / 16 * E) * x.rows * (16 / E);
#pragma unroll
            for (int i = 0; i < S::PASSES; i++) offset[i] = i * S::STEP * (x.rows / E);
        }
        source = static_cast<const char*>(x.data.address) + first * (16 / E);
    }

    // Starts to copy the next tile to `to`; `left` terms are left of the sums, at least one.
    __device__ __forceinline__ void copy(uint32_t to, int left) {
        const int position = Tile::K_MAJOR ? S::chunk() * E : S::line();
#pragma unroll
        for (int i = 0; i < S::PASSES; i++) {
            const uint32_t place = to + S::offset() + i * S::PASS_BYTES;
            const char* from = source + size_t(offset[i]) * 16;
            if (WHOLE && !Tile::K_MAJOR && (i + 1) * S::STEP <= E) {
                // The first lines of a tile are there if any is.
                copy_whole_chunk(place, from);
                continue;
            }
            const bool there = position + (Tile::K_MAJOR ? 0 : i * S::STEP) < left;
            copy_chunk(place, from, there ? 16 : 0);
        }
        source += advance;
    }
};

// Copies of lines that begin anywhere, through registers: bf16 as it is into chunks of eight, anything widened to f32
// into chunks of four.
template <class Tile, int THREADS>
struct Plain : Share<Tile, THREADS> {
    using S = Share<Tile, THREADS>;
    static constexpr int E = Tile::ELEMENTS;
    Matrix x;
    uint32_t row;  // the tile's first
    uint4 chunks[S::PASSES];

    __device__ __forceinline__ Plain(const Matrix& x, uint32_t row) : x(x), row(row) {}

    // Reads the tile of the terms from `begin` on; `left` of them are left of the sums.
    __device__ __forceinline__ void fetch(uint32_t begin, int left) {
#pragma unroll
        for (int i = 0; i < S::PASSES; i++) {
            const uint32_t line = S::line() + i * S::STEP;
            if constexpr (Tile::K_MAJOR) {
                const uint32_t k = S::chunk() * E, at = min(row + Tile::row(line), x.rows - 1);
                chunks[i] = chunk_at(size_t(at) * x.k + begin + k, left - int(k));
            } else {
                const uint32_t first = min(row + S::chunk() * E, x.rows - 1);
                const int count = int(line) < left ? min(x.rows - first, E) : 0;
                chunks[i] = chunk_at(size_t(begin + line) * x.rows + first, count);
            }
        }
    }

    // Elements `i .. i + count`, zeros for the others.
    __device__ __forceinline__ uint4 chunk_at(size_t i, int count) const {
        if constexpr (E == 4) {
            const float4 v = load_some(x.data, i, count, x.vectors);
            return make_uint4(__float_as_uint(v.x), __float_as_uint(v.y), __float_as_uint(v.z), __float_as_uint(v.w));
        } else {
            const uint16_t* from = static_cast<const uint16_t*>(x.data.address) + i;
            uint32_t v[8];
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] = j < count ? from[j] : 0;
            return make_uint4(v[0] | v[1] << 16, v[2] | v[3] << 16, v[4] | v[5] << 16, v[6] | v[7] << 16);
        }
    }

    // Writes to `to` what was fetched.
    __device__ __forceinline__ void put(char* to) const {
#pragma unroll
        for (int i = 0; i < S::PASSES; i++)
            *reinterpret_cast<uint4*>(to + S::offset() + i * S::PASS_BYTES) = chunks[i];
    }
};
