// Forward for bf16 on tensor cores: a block has `64 TILES` queries of a head, and each of its four warps a quarter of
// them; keys and values pass by in tiles of KEYS, the next of which is on its way while one is computed with.
#pragma once
#include "attention/fragment.cuh"

// A lane's rows on their way through the keys: two for each 16 of the warp.
template <int TILES>
struct Running {
    // The largest score so far, times `factor`; this lane's part of the sum of 2^(factor * score - max).
    float max[TILES][2], sum[TILES][2];

    __device__ __forceinline__ Running() {
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) max[m][h] = -INFINITY, sum[m][h] = 0.0f;
    }

    // Turns scores into 2^(factor * score - max), `factor >= 0`, and gives what earlier sums are to be multiplied by.
    // NaN is no maximum: it shows in the exponentials. Where all scores are -inf the reference is 0.
    template <int PIECES>
    __device__ __forceinline__ void add(float (&s)[TILES][PIECES][4], float factor, float (&decay)[TILES][2]) {
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float top = -INFINITY;
#pragma unroll
                for (int n = 0; n < PIECES; n++) top = fmaxf(top, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
                top = quad_max(top);
                // Not -inf * 0, where the factor is 0.
                const float next = fmaxf(max[m][h], top == -INFINITY ? top : top * factor);
                const float reference = next == -INFINITY ? 0.0f : next;
                decay[m][h] = exp2_fast(max[m][h] - reference);
                max[m][h] = next;
#pragma unroll
                for (int n = 0; n < PIECES; n++)
#pragma unroll
                    for (int i = 2 * h; i < 2 * h + 2; i++)
                        s[m][n][i] = exp2_fast(fmaf(s[m][n][i], factor, -reference));
            }
    }

    // Adds the exponentials, in the order of a lane's columns.
    template <int PIECES>
    __device__ __forceinline__ void total(const float (&s)[TILES][PIECES][4], const float (&decay)[TILES][2]) {
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                sum[m][h] *= decay[m][h];
#pragma unroll
                for (int n = 0; n < PIECES; n++) sum[m][h] += s[m][n][2 * h] + s[m][n][2 * h + 1];
            }
    }
};

// Multiplies the rows of `sum`. After the first keys the maximum of a row seldom changes, and then nothing is to do.
template <int TILES, int PIECES>
__device__ __forceinline__ void scale_rows(float (&sum)[TILES][PIECES][4], const float (&by)[TILES][2]) {
    bool one = true;
#pragma unroll
    for (int m = 0; m < TILES; m++) one = one && by[m][0] == 1.0f && by[m][1] == 1.0f;
    if (__all_sync(0xffffffff, one)) return;
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < PIECES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[m][n][i] *= by[m][i / 2];
}

// Changes the sign of all elements of a tile.
template <int WIDTH, int ROWS>
__device__ __forceinline__ void negate(unsigned char* tile) {
    for (int i = threadIdx.x; i < ROWS * WIDTH / 2; i += THREADS)
        *reinterpret_cast<uint32_t*>(tile + i / (WIDTH / 2) * pitch<WIDTH> + i % (WIDTH / 2) * 4) ^= 0x80008000u;
}

template <int WIDTH, int TILES, int KEYS>
__device__ __forceinline__ void forward(const Problem& problem, const Operand& q, const Operand& k, const Operand& v,
                                        const Operand& out, float* lse) {
    constexpr int QUERIES = 64 * TILES;
    constexpr uint32_t TILE = KEYS * pitch<WIDTH>;
    extern __shared__ __align__(16) unsigned char shared[];
    const uint32_t queries = shared_address(shared), keys = queries + QUERIES * pitch<WIDTH>;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Place at = place(problem, problem.queries, QUERIES);
    const Head query[] = {Head(problem, at, q, problem.queries)};
    const Head key_value[] = {Head(problem, at, k, problem.keys), Head(problem, at, v, problem.keys)};
    const uint32_t own = warp * 16 * TILES;

    stage<WIDTH, QUERIES>(queries, problem, query, at.first, Below{problem.queries, at.first});
    uint64_t next = attended(problem, at.batch, 0, KEYS);
    stage<WIDTH, KEYS>(keys, problem, key_value, 0, Among{next});
    commit_copies();

    const float factor = fabsf(problem.scale * LOG2_E);
    if (problem.scale < 0.0f) {
        await_copies();
        __syncthreads();
        negate<WIDTH, QUERIES>(shared);
    }
    Running<TILES> running;
    float sum[TILES][WIDTH / 8][4] = {};
    bool any = false;
    uint32_t stage_now = 0;
    for (uint32_t first = 0; first < problem.keys; first += KEYS, stage_now ^= 1) {
        const uint64_t keep = next;
        // This tile has arrived, and all warps are done with the one before.
        await_copies();
        __syncthreads();
        if (first + KEYS < problem.keys) {
            const uint32_t to = keys + (stage_now ^ 1) * 2 * TILE;
            next = attended(problem, at.batch, first + KEYS, KEYS);
            stage<WIDTH, KEYS>(to, problem, key_value, first + KEYS, Among{next});
            commit_copies();
        }
        if (keep == 0) continue;
        any = true;
        const uint32_t tile = keys + stage_now * 2 * TILE;
        float s[TILES][KEYS / 8][4], decay[TILES][2];
        scores<WIDTH, TILES, KEYS>(s, queries + own * pitch<WIDTH>, tile);
        const bool some = keep != low_bits(KEYS);
        if (some) replace_columns(s, lane_columns(keep), -INFINITY);
        running.add(s, factor, decay);
        // -inf has become 0 already, unless the factor is 0.
        if (some) replace_columns(s, lane_columns(keep), 0.0f);
        running.total(s, decay);
        scale_rows(sum, decay);
        uint32_t p[TILES][KEYS / 16][4];
        round_to_bf16<TILES, KEYS>(p, s);
        add_product<WIDTH, TILES, KEYS>(sum, p, tile + TILE);
    }
    await_copies();

    float inverse[TILES][2];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float total = quad_sum(running.sum[m][h]);
            const uint32_t token = at.first + own + m * 16 + h * 8 + lane / 4;
            inverse[m][h] = any ? 1.0f / total : 0.0f;
            // Attended keys whose scores are all -inf have no probabilities.
            const float finite = fmaf(running.max[m][h], LN_2, logf(total));
            const float result = !any ? -INFINITY : total == 0.0f ? NAN : finite;
            if (lane % 4 == 0 && token < problem.queries) lse[row_of(problem, at) + token] = result;
        }
    scale_rows(sum, inverse);
    store_rows(problem, Head(problem, at, out, problem.queries), at.first + own, problem.queries, 0, sum, 1.0f);
}
