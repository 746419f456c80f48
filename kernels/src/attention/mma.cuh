// Tiles of bf16 tokens in shared memory, and products of them on tensor cores.
//
// A tile has one token a row, `pitch` bytes apart: 16 more than its columns take, so that the 16-byte pieces of eight
// rows, which ldmatrix reads at once, lie in different banks (the pitch is an odd multiple of 16 bytes). Against an
// XOR of row and piece this costs 16 bytes a row and saves the arithmetic: every address of a product is a register
// plus a constant. The columns between the head's width and the tile's are zero.
#pragma once
#include "attention/problem.cuh"

constexpr int WARPS = 4, THREADS = 32 * WARPS;

template <int WIDTH>
constexpr uint32_t pitch = 2 * WIDTH + 16;

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Sixteen bytes on their way into shared memory, or zeros: then nothing is read.
__device__ __forceinline__ void copy_async(uint32_t to, const void* from, bool there) {
    const uint32_t bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
__device__ __forceinline__ void await_copies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

// Begins to copy tokens `first ..` of N heads of the same layout into as many tiles of ROWS rows, one after the other.
// A row whose `keep` is false is zero, and nothing of its token is read. Without 16-byte alignment (an odd width, a
// view at an odd offset) elements go through registers one by one.
template <int WIDTH, int ROWS, int N, class Keep>
__device__ __forceinline__ void stage(uint32_t to, const Problem& problem, const Head (&heads)[N], uint32_t first,
                                      Keep keep) {
    if (problem.vectors) {
        // A turn of the block copies TURN rows in pieces of 16 bytes: as many rows as are a power of two.
        constexpr int PIECES = WIDTH / 8, TURN = THREADS / (PIECES == 12 ? 16 : PIECES);
        static_assert(ROWS % TURN == 0, "whole turns");
        const uint32_t row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
        if (TURN * PIECES < THREADS && row >= TURN) return;
        const bool column = piece * 8 < problem.width;
        size_t at = heads[0].at(first + row) + piece * 8;
        const size_t step = TURN * heads[0].pitch;
        to += row * pitch<WIDTH> + piece * 16;
#pragma unroll
        for (int turn = 0; turn < ROWS / TURN; turn++, at += step)
#pragma unroll
            for (int n = 0; n < N; n++)
                copy_async(to + (n * ROWS + turn * TURN) * pitch<WIDTH>,
                           static_cast<const uint16_t*>(heads[n].x.address) + at, column && keep(row + turn * TURN));
        return;
    }
    for (int n = 0; n < N; n++, to += ROWS * pitch<WIDTH>)
#pragma unroll 1
        for (int i = threadIdx.x; i < ROWS * WIDTH / 2; i += THREADS) {
            const int row = i / (WIDTH / 2), column = i % (WIDTH / 2) * 2;
            uint32_t two = 0;
            if (keep(row)) {
                const uint16_t* x = static_cast<const uint16_t*>(heads[n].x.address) + heads[n].at(first + row);
                if (column < problem.width) two = x[column];
                if (column + 1 < problem.width) two |= uint32_t(x[column + 1]) << 16;
            }
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(to + row * pitch<WIDTH> + column * 2), "r"(two) : "memory");
        }
}

// The rows `first ..` that are among `tokens`.
struct Below {
    uint32_t tokens, first;
    __device__ __forceinline__ bool operator()(int row) const { return first + row < tokens; }
};

// The rows whose bit is set.
struct Among {
    uint64_t bits;
    __device__ __forceinline__ bool operator()(int row) const { return bits >> row & 1; }
};

// Four 8x8 matrices; each lane gives the address of one row.
__device__ __forceinline__ void load_matrices(uint32_t (&x)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(row)
                 : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(uint32_t (&x)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(row)
                 : "memory");
}

// c += a b: 16 rows, 8 columns, 16 terms. A lane has c[0], c[1] in row `lane / 4`, columns `2 (lane % 4)` and the next,
// and c[2], c[3] eight rows below.
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Which row of a tile a lane names when four matrices make 16 rows by 16 columns, first the rows: the left operand of a
// product, and the right one of `add_product`.
template <int WIDTH>
__device__ __forceinline__ uint32_t rows_first() {
    const uint32_t lane = threadIdx.x % 32;
    return lane % 16 * pitch<WIDTH> + lane / 16 * 16;
}

// The same, first the columns: the right operand of `scores`.
template <int WIDTH>
__device__ __forceinline__ uint32_t columns_first() {
    const uint32_t lane = threadIdx.x % 32;
    return (lane % 8 + lane / 16 * 8) * pitch<WIDTH> + lane / 8 % 2 * 16;
}

// s = x y^T for the warp's `16 TILES` rows of x and COLUMNS rows of y.
template <int WIDTH, int TILES, int COLUMNS>
__device__ __forceinline__ void scores(float (&s)[TILES][COLUMNS / 8][4], uint32_t x, uint32_t y) {
    x += rows_first<WIDTH>();
    y += columns_first<WIDTH>();
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[m][n][i] = 0.0f;
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        uint32_t a[TILES][4], b[4];
#pragma unroll
        for (int m = 0; m < TILES; m++) load_matrices(a[m], x + m * 16 * pitch<WIDTH> + k * 32);
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; n++) {
            load_matrices(b, y + n * 16 * pitch<WIDTH> + k * 32);
#pragma unroll
            for (int m = 0; m < TILES; m++) {
                multiply_add(s[m][2 * n], a[m], b[0], b[1]);
                multiply_add(s[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// A product's result as the left operand of the next one, rounded to bf16.
template <int TILES, int COLUMNS>
__device__ __forceinline__ void round_to_bf16(uint32_t (&p)[TILES][COLUMNS / 16][4],
                                              const float (&s)[TILES][COLUMNS / 8][4]) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int k = 0; k < COLUMNS / 16; k++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float(&two)[4] = s[m][2 * k + i / 2];
                p[m][k][i] = pack(two[i % 2 * 2], two[i % 2 * 2 + 1]);
            }
}

// sum += p y for TERMS rows of y and as many of its columns as `sum` has.
template <int WIDTH, int TILES, int TERMS, int PIECES>
__device__ __forceinline__ void add_product(float (&sum)[TILES][PIECES][4], const uint32_t (&p)[TILES][TERMS / 16][4],
                                            uint32_t y) {
    y += rows_first<WIDTH>();
#pragma unroll
    for (int k = 0; k < TERMS / 16; k++)
#pragma unroll
        for (int n = 0; n < PIECES / 2; n++) {
            uint32_t b[4];
            load_matrices_transposed(b, y + k * 16 * pitch<WIDTH> + n * 32);
#pragma unroll
            for (int m = 0; m < TILES; m++) {
                multiply_add(sum[m][2 * n], p[m][k], b[0], b[1]);
                multiply_add(sum[m][2 * n + 1], p[m][k], b[2], b[3]);
            }
        }
}
