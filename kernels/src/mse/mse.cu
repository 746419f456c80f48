// Weighted squared error, summed in f64 as on the CPU: each block writes the sum of its rows, or of its piece of one
// row, and `reduce_partials` of reduce.cu adds those in order.
#include "runtime/rows.cuh"

// `Operands` in cuda.rs. `partial`, for the forward pass: `[ceil(rows / rows_per_block), pieces]`.
struct Operands {
    Operand a, b, weights, dloss, da;
    double* partial;
    uint64_t rows, width, rows_per_block;
    uint32_t piece, pieces, team_size;
    float factor;
};

template <bool VECTORS>
__device__ __forceinline__ void forward(const Operands& p) {
    Team team(p.team_size);
    const uint64_t begin = blockIdx.x / p.pieces * p.rows_per_block, end = min(begin + p.rows_per_block, p.rows);
    const uint64_t column = uint64_t(blockIdx.x % p.pieces) * p.piece;
    const uint32_t length = min(p.width - column, uint64_t(p.piece));
    double total[1] = {0.0};
    for (uint64_t first = begin; first < end; first += team.count) {
        const uint64_t row = first + team.number;
        const size_t base = row * p.width + column;
        const Slots<VECTORS> s(team, row < end ? length : 0);
        double sum[1] = {0.0};
        for (uint32_t k = 0; s.has(k, 0); k += KEPT) {
            float a[KEPT][4], b[KEPT][4];
            load(p.a, base, s, k, a);
            load(p.b, base, s, k, b);
            // What lies past the end is 0 in both.
#pragma unroll
            for (int i = 0; i < KEPT; i++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const double difference = double(a[i][c]) - double(b[i][c]);
                    sum[0] = fma(difference, difference, sum[0]);
                }
        }
        team.sum(sum);
        if (row < end && team.rank == 0) total[0] += (p.weights.present ? load(p.weights, row) : 1.0f) * sum[0];
    }
    team.whole().sum(total);
    if (threadIdx.x == 0) p.partial[blockIdx.x] = total[0];
}

// da = factor * dloss * w * (a - b), a team a piece of a row
template <bool VECTORS>
__device__ __forceinline__ void backward(const Operands& p) {
    const Team team(p.team_size);
    const float factor = p.factor * load(p.dloss, 0);
    const uint64_t count = p.rows * p.pieces;
    for (uint64_t first = team.first_row(); first < count; first += team.row_step()) {
        const uint64_t item = first + team.number, row = item / p.pieces, column = item % p.pieces * p.piece;
        const size_t base = row * p.width + column;
        const Slots<VECTORS> s(team, item < count ? min(p.width - column, uint64_t(p.piece)) : 0);
        Rows<2> rows{{p.a, p.b}};
        rows.keep(0, base, s);
        rows.keep(1, base, s);
        const float scale = factor * (item < count && p.weights.present ? load(p.weights, row) : 1.0f);
        rows.map(s, p.da, base, [=](float (&v)[2]) { return scale * (v[0] - v[1]); });
    }
}

// The name ends with what a slot is: see `Slots`.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) mse_forward_vectors(Operands p) { forward<true>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS) mse_forward_scalars(Operands p) { forward<false>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) mse_backward_vectors(Operands p) { backward<true>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) mse_backward_scalars(Operands p) { backward<false>(p); }
