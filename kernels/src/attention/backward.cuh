// Backward for bf16 on tensor cores, without atomics: one kernel owns keys and passes over the queries for dk and dv,
// one owns queries and passes over the keys for dq. Each computes the probabilities and their gradients again, so that
// there are seven products where one kernel with atomics has five; in return the bits are the same on every run.
//
// A warp owns `16 TILES` tokens and computes scores with them as rows (so transposed where it owns keys): then a
// probability is in the registers that the next product wants its left operand in.
#pragma once
#include "attention/fragment.cuh"

// `{lse / ln 2, dout . out}` of a query; (+0, +0) where there is none.
__device__ __forceinline__ float2 statistics_of(const Problem& problem, const float2* row, uint32_t query) {
    return query < problem.queries ? row[query] : make_float2(0.0f, 0.0f);
}

// Makes 0 of what belongs to rows whose bit in `rows`, `16 m + 8 h`, is not set, or to a column of `columns` or more.
template <int TILES, int PIECES>
__device__ __forceinline__ void clear_excluded(float (&s)[TILES][PIECES][4], uint32_t rows, int columns) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < PIECES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (!(rows >> (16 * m + i / 2 * 8) & 1) || 8 * n + i % 2 >= columns) s[m][n][i] = 0.0f;
}

template <int WIDTH, int TILES, int QUERIES, int SPLIT>
__device__ __forceinline__ void backward_keys(const Problem& problem, const Operand& q, const Operand& k,
                                              const Operand& v, const Operand& dout, const float2* statistics,
                                              const Operand& dk, const Operand& dv) {
    constexpr int KEYS = 64 * TILES, OWN = WIDTH / SPLIT;
    constexpr uint32_t TILE = QUERIES * pitch<WIDTH>;
    extern __shared__ __align__(16) unsigned char shared[];
    const uint32_t keys = shared_address(shared), values = keys + KEYS * pitch<WIDTH>;
    const uint32_t tiles = values + KEYS * pitch<WIDTH>;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t own = warp * 16 * TILES, column = blockIdx.y * OWN;
    const Place at = place(problem, problem.keys, KEYS);
    const Head key_value[] = {Head(problem, at, k, problem.keys), Head(problem, at, v, problem.keys)};
    const Head query_dout[] = {Head(problem, at, q, problem.queries), Head(problem, at, dout, problem.queries)};
    const float2* row = statistics + row_of(problem, at);

    // Of the block's first 64 keys, of the others, and of the warp's: bit `16 m + 8 h` for the rows of this lane.
    const uint64_t low = attended(problem, at.batch, at.first, 64);
    const uint64_t high = TILES == 2 ? attended(problem, at.batch, at.first + 64, 64) : 0;
    const uint32_t of_warp = uint32_t((own < 64 ? low : high) >> own % 64 & low_bits(16 * TILES));
    const uint32_t mine = of_warp >> lane / 4;
    const bool any = (low | high) != 0, all_keys = of_warp == low_bits(16 * TILES);

    float key_sum[TILES][OWN / 8][4] = {}, value_sum[TILES][OWN / 8][4] = {};
    if (any) {
        stage<WIDTH, KEYS>(keys, problem, key_value, at.first,
                           [&](int i) { return (i < 64 ? low : high) >> i % 64 & 1; });
        stage<WIDTH, QUERIES>(tiles, problem, query_dout, 0, Below{problem.queries, 0});
        commit_copies();
    }
    const uint32_t end = any ? problem.queries : 0;
    uint32_t stage_now = 0;
    for (uint32_t first = 0; first < end; first += QUERIES, stage_now ^= 1) {
        await_copies();
        __syncthreads();
        const uint32_t following = first + QUERIES;
        if (following < end) {
            stage<WIDTH, QUERIES>(tiles + (stage_now ^ 1) * 2 * TILE, problem, query_dout, following,
                                  Below{problem.queries, following});
            commit_copies();
        }
        float2 known[QUERIES / 8][2];
#pragma unroll
        for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                known[n][i] = statistics_of(problem, row, first + n * 8 + lane % 4 * 2 + i);
        const uint32_t tile = tiles + stage_now * 2 * TILE;
        const bool some = !all_keys || following > problem.queries;
        const int columns = int(problem.queries - first) - int(lane % 4 * 2);
        float s[TILES][QUERIES / 8][4], gradient[TILES][QUERIES / 8][4];
        uint32_t left[TILES][QUERIES / 16][4];
        scores<WIDTH, TILES, QUERIES>(s, keys + own * pitch<WIDTH>, tile);
        const float factor = problem.scale * LOG2_E;
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[m][n][i] = exp2_fast(fmaf(s[m][n][i], factor, -known[n][i % 2].x));
        if (some) clear_excluded(s, mine, columns);
        round_to_bf16<TILES, QUERIES>(left, s);
        add_product<WIDTH, TILES, QUERIES>(value_sum, left, tile + TILE + column * 2);
        scores<WIDTH, TILES, QUERIES>(gradient, values + own * pitch<WIDTH>, tile + TILE);
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[m][n][i] *= gradient[m][n][i] - known[n][i % 2].y;
        if (some) clear_excluded(s, mine, columns);
        round_to_bf16<TILES, QUERIES>(left, s);
        add_product<WIDTH, TILES, QUERIES>(key_sum, left, tile + column * 2);
    }

    // 0 * NaN of a query is not to reach a key that is not attended to.
    if (!all_keys) {
        clear_excluded(key_sum, mine, OWN);
        clear_excluded(value_sum, mine, OWN);
    }
    store_rows(problem, Head(problem, at, dk, problem.keys), at.first + own, problem.keys, column, key_sum,
               problem.scale);
    store_rows(problem, Head(problem, at, dv, problem.keys), at.first + own, problem.keys, column, value_sum, 1.0f);
}

template <int WIDTH, int TILES, int KEYS>
__device__ __forceinline__ void backward_queries(const Problem& problem, const Operand& q, const Operand& k,
                                                 const Operand& v, const Operand& dout, const float2* statistics,
                                                 const Operand& dq) {
    constexpr int QUERIES = 64 * TILES;
    constexpr uint32_t TILE = KEYS * pitch<WIDTH>;
    extern __shared__ __align__(16) unsigned char shared[];
    const uint32_t queries = shared_address(shared), gradients = queries + QUERIES * pitch<WIDTH>;
    const uint32_t tiles = gradients + QUERIES * pitch<WIDTH>;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, own = warp * 16 * TILES;
    const Place at = place(problem, problem.queries, QUERIES);
    const Head query_dout[] = {Head(problem, at, q, problem.queries), Head(problem, at, dout, problem.queries)};
    const Head key_value[] = {Head(problem, at, k, problem.keys), Head(problem, at, v, problem.keys)};
    const float2* row = statistics + row_of(problem, at);

    stage<WIDTH, QUERIES>(queries, problem, query_dout, at.first, Below{problem.queries, at.first});
    uint64_t next = attended(problem, at.batch, 0, KEYS);
    stage<WIDTH, KEYS>(tiles, problem, key_value, 0, Among{next});
    commit_copies();
    float2 known[TILES][2];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            known[m][h] = statistics_of(problem, row, at.first + own + m * 16 + h * 8 + lane / 4);

    float sum[TILES][WIDTH / 8][4] = {};
    uint32_t stage_now = 0;
    for (uint32_t first = 0; first < problem.keys; first += KEYS, stage_now ^= 1) {
        const uint64_t keep = next;
        await_copies();
        __syncthreads();
        if (first + KEYS < problem.keys) {
            next = attended(problem, at.batch, first + KEYS, KEYS);
            stage<WIDTH, KEYS>(tiles + (stage_now ^ 1) * 2 * TILE, problem, key_value, first + KEYS, Among{next});
            commit_copies();
        }
        if (keep == 0) continue;
        const uint32_t tile = tiles + stage_now * 2 * TILE;
        float s[TILES][KEYS / 8][4], gradient[TILES][KEYS / 8][4];
        scores<WIDTH, TILES, KEYS>(s, queries + own * pitch<WIDTH>, tile);
        scores<WIDTH, TILES, KEYS>(gradient, gradients + own * pitch<WIDTH>, tile + TILE);
        const float factor = problem.scale * LOG2_E;
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float2 of = known[m][i / 2];
                    s[m][n][i] = exp2_fast(fmaf(s[m][n][i], factor, -of.x)) * (gradient[m][n][i] - of.y);
                }
        if (keep != low_bits(KEYS)) replace_columns(s, lane_columns(keep), 0.0f);
        uint32_t left[TILES][KEYS / 16][4];
        round_to_bf16<TILES, KEYS>(left, s);
        add_product<WIDTH, TILES, KEYS>(sum, left, tile);
    }
    // Where there are no keys nobody has waited for the queries yet.
    await_copies();
    store_rows(problem, Head(problem, at, dq, problem.queries), at.first + own, problem.queries, 0, sum,
               problem.scale);
}
