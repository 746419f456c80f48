// Rows that teams of threads share: who has which elements, loads that are all on their way before the first is used,
// reductions over a team in an order that the row's width fixes.
//
// A thread's elements come in slots of four. Where the width is a multiple of four a slot is four neighbours, one
// vector if the address allows it; otherwise the four lie a team apart, so that a warp's scalar accesses are
// neighbours. Which of both depends on the width and not on the address: an operand's place in memory does not show in
// the bits.
//
// The first `KEPT` slots stay in registers from pass to pass over a row; those of rows that are too wide for it are
// read again, so no width spills.
#pragma once
#include "runtime/device.cuh"

// Slots of an operand that a thread keeps. `Teams` in rows.rs makes teams large enough for them where it can.
constexpr int KEPT = 4;
// The largest block that rows.rs asks for.
constexpr int MAX_THREADS = 320;

// Threads that work on one row: 1 to 32 neighbours in a warp, a power of two, of which a block has many; or the block.
struct Team {
    uint32_t size, count;   // threads of a team, teams of the block
    uint32_t number, rank;  // this team in its block, this thread in its team
    uint32_t half = 0;      // of the shared memory that the next reduction over a block uses

    __device__ explicit Team(uint32_t size)
        : size(size), count(blockDim.x / size), number(threadIdx.x / size), rank(threadIdx.x % size) {}

    // The block as one team, whose reductions may follow those of this one.
    __device__ __forceinline__ Team whole() const {
        Team block(blockDim.x);
        block.half = half;
        return block;
    }

    // The row of the block's first team, and the distance to its next one, where blocks take turns.
    __device__ __forceinline__ uint64_t first_row() const { return uint64_t(blockIdx.x) * count; }
    __device__ __forceinline__ uint64_t row_step() const { return uint64_t(gridDim.x) * count; }

    // Reduces each of `N` values over the team by `f`, which is commutative. All threads of the block call it.
    template <int N, class T, class F>
    __device__ __forceinline__ void reduce(T (&v)[N], T identity, F f) {
        for (uint32_t lane = min(size, 32) / 2; lane > 0; lane /= 2) fold(v, lane, f);
        if (size <= 32) return;
        // Two halves, so that one barrier a call will do: whoever writes a half again has passed the barrier of the
        // call between, and so has everybody who read it.
        __shared__ T shared[2][N][32];
        const uint32_t lane = rank % 32;
#pragma unroll
        for (int n = 0; n < N; n++)
            if (lane == 0) shared[half][n][rank / 32] = v[n];
        __syncthreads();
#pragma unroll
        for (int n = 0; n < N; n++) v[n] = lane < size / 32 ? shared[half][n][lane] : identity;
        for (uint32_t lane = 16; lane > 0; lane /= 2) fold(v, lane, f);
        half ^= 1;
    }

    template <int N, class T>
    __device__ __forceinline__ void sum(T (&v)[N]) {
        reduce(v, T(0), [](T a, T b) { return a + b; });
    }

  private:
    template <int N, class T, class F>
    __device__ __forceinline__ void fold(T (&v)[N], uint32_t lane, F f) {
#pragma unroll
        for (int n = 0; n < N; n++) v[n] = f(v[n], __shfl_xor_sync(0xffffffff, v[n], lane));
    }
};

// The slots that a thread of a team has in a row of `width` elements; none where that is 0. With `VECTORS` a slot is
// four neighbours, and begins at a multiple of four.
template <bool VECTORS>
struct Slots {
    static constexpr bool vectors = VECTORS;
    uint32_t width, first, apart, step;

    __device__ Slots(const Team& team, uint32_t width)
        : width(width),
          first(VECTORS ? 4 * team.rank : team.rank),
          apart(VECTORS ? 1 : team.size),
          step(4 * team.size) {}

    // Position in the row of element `c` of slot `k`, and whether there is one.
    __device__ __forceinline__ uint32_t at(uint32_t k, uint32_t c) const { return first + k * step + c * apart; }
    __device__ __forceinline__ bool has(uint32_t k, uint32_t c) const {
        return (VECTORS ? at(k, 0) : at(k, c)) < width;
    }
};

// Slots `k0 .. k0 + N` of the row that begins at element `base`; 0 where there is no element or no operand. The
// branches stand outside of the loops: widening one slot does not wait before the next is asked for.
template <int N, class S>
__device__ __forceinline__ void load(const Operand& x, size_t base, const S& s, uint32_t k0, float (&v)[N][4]) {
#pragma unroll
    for (int k = 0; k < N; k++)
#pragma unroll
        for (int c = 0; c < 4; c++) v[k][c] = 0.0f;
    if (!x.present) return;
    const uintptr_t address = reinterpret_cast<uintptr_t>(x.address);
    if (S::vectors && x.dtype == BF16 && address % 8 == 0) {
        uint2 two[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            two[k] = make_uint2(0, 0);
            if (s.has(k0 + k, 0)) two[k] = static_cast<const uint2*>(x.address)[(base + s.at(k0 + k, 0)) / 4];
        }
#pragma unroll
        for (int k = 0; k < N; k++) {
            v[k][0] = widen(two[k].x & 0xffff), v[k][1] = widen(two[k].x >> 16);
            v[k][2] = widen(two[k].y & 0xffff), v[k][3] = widen(two[k].y >> 16);
        }
    } else if (S::vectors && x.dtype == F32 && address % 16 == 0) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            if (!s.has(k0 + k, 0)) continue;
            const float4 four = static_cast<const float4*>(x.address)[(base + s.at(k0 + k, 0)) / 4];
            v[k][0] = four.x, v[k][1] = four.y, v[k][2] = four.z, v[k][3] = four.w;
        }
    } else if (x.dtype == BF16) {
        uint16_t one[N][4];
#pragma unroll
        for (int k = 0; k < N; k++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                one[k][c] = 0;
                if (s.has(k0 + k, c)) one[k][c] = static_cast<const uint16_t*>(x.address)[base + s.at(k0 + k, c)];
            }
#pragma unroll
        for (int k = 0; k < N; k++)
#pragma unroll
            for (int c = 0; c < 4; c++) v[k][c] = widen(one[k][c]);
    } else {
#pragma unroll
        for (int k = 0; k < N; k++)
#pragma unroll
            for (int c = 0; c < 4; c++)
                if (s.has(k0 + k, c)) v[k][c] = static_cast<const float*>(x.address)[base + s.at(k0 + k, c)];
    }
}

// Slot `k` of the row that begins at element `base`.
template <class S>
__device__ __forceinline__ void store(const Operand& y, size_t base, const S& s, uint32_t k, const float (&v)[4]) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(y.address);
    if (S::vectors && address % (y.dtype == BF16 ? 8 : 16) == 0) {
        if (s.has(k, 0)) store4(y, (base + s.at(k, 0)) / 4, make_float4(v[0], v[1], v[2], v[3]));
        return;
    }
#pragma unroll
    for (int c = 0; c < 4; c++)
        if (s.has(k, c)) store(y, base + s.at(k, c), v[c]);
}

// A row of each of `N` operands, and what this thread keeps of it.
template <int N>
struct Rows {
    Operand x[N];
    size_t base[N];  // element at which the row begins
    float kept[N][KEPT][4];

    // Begins with the row of operand `n` at element `at`.
    template <class S>
    __device__ __forceinline__ void keep(int n, size_t at, const S& s) {
        base[n] = at;
        load(x[n], at, s, 0, kept[n]);
    }

    // Calls `f(a)` for each element of the thread, where `a[n]` is that of operand `n`.
    template <class S, class F>
    __device__ __forceinline__ void each(const S& s, F f) {
        slots(s, [&](uint32_t k, bool, float (&v)[N][4]) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                float a[N];
#pragma unroll
                for (int n = 0; n < N; n++) a[n] = v[n][c];
                if (s.has(k, c)) f(a);
            }
        });
    }

    // `y[at + j] = f(a)` for each element of the thread.
    template <class S, class F>
    __device__ __forceinline__ void map(const S& s, const Operand& y, size_t at, F f) {
        slots(s, [&](uint32_t k, bool, float (&v)[N][4]) {
            float result[4];
#pragma unroll
            for (int c = 0; c < 4; c++) {
                float a[N];
#pragma unroll
                for (int n = 0; n < N; n++) a[n] = v[n][c];
                result[c] = f(a);
            }
            store(y, at, s, k, result);
        });
    }

    // Calls `f(k, is_kept, v)` for each slot: `v[n]` are the four elements of operand `n`, 0 past the end. `is_kept`
    // is a constant, and where it is true `k` is one.
    template <class S, class F>
    __device__ __forceinline__ void slots(const S& s, F f) {
#pragma unroll
        for (int k = 0; k < KEPT; k++) {
            // Past the row's end for the whole team, which saves most of the work on narrow rows.
            if (k * s.step >= s.width) break;
            float v[N][4];
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int c = 0; c < 4; c++) v[n][c] = kept[n][k][c];
            f(k, true, v);
        }
        for (uint32_t k = KEPT; s.has(k, 0); k++) {
            float v[N][4];
#pragma unroll
            for (int n = 0; n < N; n++) {
                float slot[1][4];
                load(x[n], base[n], s, k, slot);
#pragma unroll
                for (int c = 0; c < 4; c++) v[n][c] = slot[0][c];
            }
            f(k, false, v);
        }
    }
};
