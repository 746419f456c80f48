// All three passes in f32 without tensor cores, for operands of any type, width and alignment: the same algorithms as
// in forward.cuh and backward.cuh, on blocks of 64 by 64 scores. Blocks along y share out the columns of the results.
#pragma once
#include "attention/fp32_tile.cuh"

namespace fp32 {

template <int COLUMNS>
__device__ __forceinline__ void forward(const Problem& problem, const Operand& q, const Operand& k, const Operand& v,
                                        const Operand& out, float* lse) {
    __shared__ Shared shared;
    const Place at = place(problem, problem.queries, SIDE);
    const uint32_t column = blockIdx.y * COLUMNS, own = at.first + 4 * row_of();
    const Head key(problem, at, k, problem.keys), value(problem, at, v, problem.keys);
    const Rows query = {Head(problem, at, q, problem.queries), at.first, present(problem.queries, at.first, SIDE)};
    const float factor = problem.scale * LOG2_E;
    Sums<COLUMNS> sums;
    float max[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY}, sum[4] = {};
    bool any = false;
    for (uint32_t first = 0; first < problem.keys; first += SIDE) {
        const uint64_t keep = attended(problem, at.batch, first, SIDE);
        if (keep == 0) continue;
        any = true;
        float s[4][4];
        scores(s, shared, problem.width, query, {key, first, keep});
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float top = -INFINITY, total = 0.0f;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                s[i][j] = keep >> (4 * column_of() + j) & 1 ? s[i][j] * factor : -INFINITY;
                top = fmaxf(top, s[i][j]);
            }
            // NaN is no maximum, it shows in the exponentials; where all scores are -inf the reference is 0.
            const float next = fmaxf(max[i], row_max(top)), reference = next == -INFINITY ? 0.0f : next;
            const float decay = exp2f(max[i] - reference);
            max[i] = next;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                s[i][j] = exp2f(s[i][j] - reference);
                total += s[i][j];
            }
            sum[i] = fmaf(sum[i], decay, total);
#pragma unroll
            for (int piece = 0; piece < sums.PIECES; piece++)
#pragma unroll
                for (int j = 0; j < 4; j++) sums.of[piece][i][j] *= decay;
        }
        put(shared, s);
        sums.add_product(shared, problem.width, {value, first, keep}, column);
    }
    float inverse[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float total = row_sum(sum[i]);
        inverse[i] = any ? 1.0f / total : 0.0f;
        // Attended keys whose scores are all -inf have no probabilities.
        const float finite = fmaf(max[i], LN_2, logf(total));
        const float result = !any ? -INFINITY : total == 0.0f ? NAN : finite;
        if (blockIdx.y == 0 && column_of() == 0 && own + i < problem.queries)
            lse[::row_of(problem, at) + own + i] = result;
    }
    sums.store(problem, Head(problem, at, out, problem.queries), at.first, problem.queries, column, inverse);
}

template <int COLUMNS>
__device__ __forceinline__ void backward_keys(const Problem& problem, const Operand& q, const Operand& k,
                                              const Operand& v, const Operand& dout, const float2* statistics,
                                              const Operand& dk, const Operand& dv) {
    __shared__ Shared shared;
    const Place at = place(problem, problem.keys, SIDE);
    const uint32_t column = blockIdx.y * COLUMNS;
    const uint64_t keep = attended(problem, at.batch, at.first, SIDE);
    const Rows key = {Head(problem, at, k, problem.keys), at.first, keep};
    const Rows value = {Head(problem, at, v, problem.keys), at.first, keep};
    const Head query(problem, at, q, problem.queries), gradient(problem, at, dout, problem.queries);
    const float2* row = statistics + ::row_of(problem, at);
    Sums<COLUMNS> key_sums, value_sums;
    for (uint32_t first = 0; keep != 0 && first < problem.queries; first += SIDE) {
        const uint64_t there = present(problem.queries, first, SIDE);
        float s[4][4], ds[4][4];
        scores(s, shared, problem.width, key, {query, first, there});
        scores(ds, shared, problem.width, value, {gradient, first, there});
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const uint32_t i = first + 4 * column_of() + j;
            const float2 known = i < problem.queries ? row[i] : make_float2(0.0f, 0.0f);
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const bool counts = i < problem.queries && (keep >> (4 * row_of() + r) & 1);
                const float p = exp2f(fmaf(s[r][j], problem.scale * LOG2_E, -known.x));
                s[r][j] = counts ? p : 0.0f;
                ds[r][j] = counts ? p * (ds[r][j] - known.y) : 0.0f;
            }
        }
        put(shared, s);
        value_sums.add_product(shared, problem.width, {gradient, first, there}, column);
        __syncthreads();
        put(shared, ds);
        key_sums.add_product(shared, problem.width, {query, first, there}, column);
    }
    // 0 * NaN of a query is not to reach a key that is not attended to.
    float scale[4], one[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        scale[r] = problem.scale, one[r] = 1.0f;
        if (keep >> (4 * row_of() + r) & 1) continue;
        key_sums.clear(r), value_sums.clear(r);
    }
    key_sums.store(problem, Head(problem, at, dk, problem.keys), at.first, problem.keys, column, scale);
    value_sums.store(problem, Head(problem, at, dv, problem.keys), at.first, problem.keys, column, one);
}

template <int COLUMNS>
__device__ __forceinline__ void backward_queries(const Problem& problem, const Operand& q, const Operand& k,
                                                 const Operand& v, const Operand& dout, const float2* statistics,
                                                 const Operand& dq) {
    __shared__ Shared shared;
    const Place at = place(problem, problem.queries, SIDE);
    const uint32_t column = blockIdx.y * COLUMNS;
    const uint64_t there = present(problem.queries, at.first, SIDE);
    const Rows query = {Head(problem, at, q, problem.queries), at.first, there};
    const Rows gradient = {Head(problem, at, dout, problem.queries), at.first, there};
    const Head key(problem, at, k, problem.keys), value(problem, at, v, problem.keys);
    float2 known[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint32_t token = at.first + 4 * row_of() + i;
        known[i] = token < problem.queries ? statistics[::row_of(problem, at) + token] : make_float2(0.0f, 0.0f);
    }
    Sums<COLUMNS> sums;
    for (uint32_t first = 0; first < problem.keys; first += SIDE) {
        const uint64_t keep = attended(problem, at.batch, first, SIDE);
        if (keep == 0) continue;
        float s[4][4], ds[4][4];
        scores(s, shared, problem.width, query, {key, first, keep});
        scores(ds, shared, problem.width, gradient, {value, first, keep});
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float p = exp2f(fmaf(s[i][j], problem.scale * LOG2_E, -known[i].x));
                ds[i][j] = keep >> (4 * column_of() + j) & 1 ? p * (ds[i][j] - known[i].y) : 0.0f;
            }
        put(shared, ds);
        sums.add_product(shared, problem.width, {key, first, keep}, column);
    }
    const float scale[] = {problem.scale, problem.scale, problem.scale, problem.scale};
    sums.store(problem, Head(problem, at, dq, problem.queries), at.first, problem.queries, column, scale);
}

}  // namespace fp32
