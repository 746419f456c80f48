// Products of bf16 by bf16 on tensor cores, summed in f32.
//
// A block has WARPS_M x WARPS_N warps; each computes WM x WN elements with mma.sync.m16n8k16. Tiles of 32 terms come
// through a ring of STAGES in shared memory, and fragments are read one step of 16 terms ahead of the multiplications.
#pragma once
#include "gemm/epilogue.cuh"
#include "gemm/staging.cuh"

// Terms of a tile, and of a step.
constexpr int TERMS = 32, STEP = 16;

// Four matrices of 8 x 8, of which lane l names the row l % 8 of number l / 8; `TRANSPOSED` each on its way.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(uint32_t from, uint32_t& x0, uint32_t& x1, uint32_t& x2, uint32_t& x3) {
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x0), "=r"(x1), "=r"(x2), "=r"(x3) : "r"(from) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x0), "=r"(x1), "=r"(x2), "=r"(x3) : "r"(from) : "memory");
}

// sum += a b, with `a` 16 x 16 and `b` 16 x 8.
__device__ __forceinline__ void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Lines are terms. Two lines are the width of shared memory; each pair of them has its chunks in another order, so that
// the same chunk of eight lines, which is a matrix of 8 x 8, lies in all banks once.
template <int ROWS>
struct TermsInLine {
    static constexpr bool K_MAJOR = true;
    static constexpr int ELEMENTS = 8, LINE = 4, BYTES = ROWS * 64, PERIOD = 8;
    __device__ static uint32_t row(uint32_t line) { return line; }
    __device__ static uint32_t offset(uint32_t line, uint32_t chunk) {
        return line * 64 + ((chunk ^ (line / 2 % 4)) * 16);
    }
    // Where a lane finds its row of the matrices at `row` (16 of them) and the terms of the first step; `across` has
    // matrix 1 eight rows further and 2 eight terms, else it is the other way round.
    __device__ static uint32_t place(uint32_t row, bool across) {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t low = lane / 8 % 2, high = lane / 16;
        return offset(row + (across ? low : high) * 8 + lane % 8, across ? high : low);
    }
    // The same for the i-th 16 rows further, and for another step.
    __device__ static uint32_t move(uint32_t place, int i, int step) { return (place ^ (step * 32)) + i * 16 * 64; }
};

// Lines are rows of one term. Eight lines have their chunks in eight orders.
template <int ROWS>
struct RowsInLine {
    static constexpr bool K_MAJOR = false;
    static constexpr int ELEMENTS = 8, LINE = ROWS / 8, BYTES = ROWS * 64, PERIOD = 8;
    __device__ static uint32_t offset(uint32_t line, uint32_t chunk) {
        return line * ROWS * 2 + ((chunk ^ (line % 8)) * 16);
    }
    __device__ static uint32_t place(uint32_t row, bool across) {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t low = lane / 8 % 2, high = lane / 16;
        return offset((across ? high : low) * 8 + lane % 8, row / 8 + (across ? low : high));
    }
    __device__ static uint32_t move(uint32_t place, int i, int step) {
        return (place ^ (i * 32)) + step * STEP * ROWS * 2;
    }
};

template <int ROWS, bool K_MAJOR>
using Lines = std::conditional_t<K_MAJOR, TermsInLine<ROWS>, RowsInLine<ROWS>>;

// The operands of one step for a warp.
template <class A, class B, int WM, int WN>
struct Fragments {
    uint32_t a[WM / 16][4], b[WN / 8][2];

    __device__ __forceinline__ void load(uint32_t at_a, uint32_t at_b, int step) {
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
            load_matrices<!A::K_MAJOR>(A::move(at_a, i, step), a[i][0], a[i][1], a[i][2], a[i][3]);
#pragma unroll
        for (int j = 0; j < WN / 16; j++)
            load_matrices<!B::K_MAJOR>(B::move(at_b, j, step), b[2 * j][0], b[2 * j][1], b[2 * j + 1][0],
                                       b[2 * j + 1][1]);
    }
};

template <int WARPS_M, int WARPS_N, int WM, int WN, int STAGES, bool A_K_MAJOR, bool B_K_MAJOR, bool ALIGNED>
struct TensorProduct {
    static constexpr int M = WARPS_M * WM, N = WARPS_N * WN, THREADS = 32 * WARPS_M * WARPS_N;
    using A = Lines<M, A_K_MAJOR>;
    using B = Lines<N, B_K_MAJOR>;
    static constexpr uint32_t STAGE = A::BYTES + B::BYTES;
    // A row of a warp's sums in shared memory: shifted by 8 banks from one to the next, which is the width of the four
    // lanes that have a row.
    static constexpr int PITCH = WN + 8;
    static_assert(PITCH % 32 == 8 && THREADS / 32 * 16 * PITCH * 4 <= STAGES * STAGE, "sums have room");

    float sums[WM / 16][WN / 8][4] = {};

    __device__ static uint32_t warp_row() { return threadIdx.x / 32 / WARPS_N * WM; }
    __device__ static uint32_t warp_column() { return threadIdx.x / 32 % WARPS_N * WN; }

    __device__ __forceinline__ void run(const Product& p, char* shared) {
        const Block block = this_block<M, N>(p);
        const int tiles = int(block.end - block.begin + TERMS - 1) / TERMS;
        if constexpr (ALIGNED) {
            Asynchronous<A, THREADS, B_K_MAJOR> a(matrix_a(p, block), block.row, block.begin);
            Asynchronous<B, THREADS, A_K_MAJOR> b(matrix_b(p, block), block.column, block.begin);
            const uint32_t ring = shared_address(shared);
            add_up(ring, tiles, [&](int tile) {
                const int left = int(block.end - block.begin) - tile * TERMS;
                const uint32_t to = ring + tile % STAGES * STAGE;
                a.copy(to, left);
                b.copy(to + A::BYTES, left);
            });
        } else {
            Plain<A, THREADS> a(matrix_a(p, block), block.row);
            Plain<B, THREADS> b(matrix_b(p, block), block.column);
            add_up(shared_address(shared), tiles, [&](int tile) {
                const int left = int(block.end - block.begin) - tile * TERMS;
                char* to = shared + tile % STAGES * STAGE;
                a.fetch(block.begin + tile * TERMS, left);
                a.put(to);
                b.fetch(block.begin + tile * TERMS, left);
                b.put(to + A::BYTES);
            });
        }
        store(p, reinterpret_cast<float*>(shared));
    }

    // Sums all tiles; `fill(tile)` starts to bring one into its stage.
    template <class Fill>
    __device__ __forceinline__ void add_up(uint32_t ring, int tiles, Fill fill) {
#pragma unroll
        for (int tile = 0; tile < STAGES - 1; tile++) {
            if (tile < tiles) fill(tile);
            end_of_tile();
        }
        const uint32_t place_a = A::place(warp_row(), true), place_b = A::BYTES + B::place(warp_column(), false);
        Fragments<A, B, WM, WN> fragments[2];
        await_tile();
        uint32_t stage = ring;
        if (tiles > 0) fragments[0].load(stage + place_a, stage + place_b, 0);
#pragma unroll 1
        for (int tile = 0; tile < tiles; tile++) {
            fragments[1].load(stage + place_a, stage + place_b, 1);
            // Into the stage of the last tile: all warps have passed the barrier below, so they have read it.
            if (tile + STAGES - 1 < tiles) fill(tile + STAGES - 1);
            end_of_tile();
            multiply_all(fragments[0]);
            stage = stage + STAGE == ring + STAGES * STAGE ? ring : stage + STAGE;
            await_tile();
            if (tile + 1 < tiles) fragments[0].load(stage + place_a, stage + place_b, 0);
            multiply_all(fragments[1]);
        }
        // The ring is free for other use: the last groups have no copies, and all warps have passed the last barrier,
        // behind which nobody reads.
    }

    // A group for every tile, where tiles come by copies that nobody waits for.
    __device__ __forceinline__ void end_of_tile() {
        if constexpr (ALIGNED) commit_copies();
    }

    // Until the tile that is next in the ring is there for the whole block.
    __device__ __forceinline__ void await_tile() {
        if constexpr (ALIGNED) wait_for_copies<STAGES - 2>();
        __syncthreads();
    }

    __device__ __forceinline__ void multiply_all(const Fragments<A, B, WM, WN>& from) {
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
#pragma unroll
            // Back and forth, so that one operand of each multiplication is that of the last.
            for (int j = 0; j < WN / 8; j++) {
                const int column = i % 2 ? WN / 8 - 1 - j : j;
                multiply(sums[i][column], from.a[i], from.b[column]);
            }
    }

    // Through shared memory, 16 rows of a warp at a time, so that lanes side by side have columns side by side, and the
    // epilogue is code of one loop.
    __device__ __forceinline__ void store(const Product& p, float* shared) {
        const Block block = this_block<M, N>(p);
        const uint32_t lane = threadIdx.x % 32;
        float* own = shared + threadIdx.x / 32 * (16 * PITCH);
#pragma unroll 1
        for (int part = 0; part < WM / 16; part++) {
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
                if (i == part)
#pragma unroll
                    for (int j = 0; j < WN / 8; j++) {
                        float* to = own + lane / 4 * PITCH + j * 8 + lane % 4 * 2;
                        *reinterpret_cast<float2*>(to) = make_float2(sums[i][j][0], sums[i][j][1]);
                        *reinterpret_cast<float2*>(to + 8 * PITCH) = make_float2(sums[i][j][2], sums[i][j][3]);
                    }
            __syncwarp();
            constexpr int LANES = WN / 4;
#pragma unroll 1
            for (uint32_t row = lane / LANES; row < 16; row += 32 / LANES) {
                const uint32_t column = lane % LANES * 4;
                const float4 v = *reinterpret_cast<const float4*>(own + row * PITCH + column);
                leave(p, block, block.row + warp_row() + part * 16 + row, block.column + warp_column() + column, v);
            }
            __syncwarp();
        }
    }
};
