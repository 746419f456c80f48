// Reductions in an order that the shape fixes: down columns in f32, along rows and of everything in f64 as on the CPU.
//
// What a block takes is a piece of a row, or of the rows of a column, of a size that the shape fixes. Where there are
// more pieces than one, they write partial sums, and a second launch adds those in order.
//
// f64 runs at 1/64 of the rate of f32 on cards for desktops: there a sum of squares of f32 takes about 1.5 times what
// its bytes take. Compensated f32 would not, and would give NaN for an infinite sum.
#include "runtime/rows.cuh"

// A thread's slots in a tile of columns: slot `k` is four columns of the thread's `k`th row.
template <bool VECTORS>
struct Columns {
    static constexpr bool vectors = VECTORS;
    uint64_t row, end, step;
    uint32_t width, column, apart;

    __device__ __forceinline__ size_t at(uint32_t k, uint32_t c) const {
        return (row + k * step) * width + column + c * apart;
    }
    __device__ __forceinline__ bool has(uint32_t k, uint32_t c) const {
        return row + k * step < end && column + (VECTORS ? 0 : c * apart) < width;
    }
};

// `ColumnSum` in cuda.rs. `x`: `[groups, rows, width]`; `out`: f32 `[groups, chunks, width]`, added to where `add`.
struct ColumnSum {
    Operand x, out;
    uint64_t rows, chunk;
    uint32_t chunks, tiles, width, team_size, add, unused;
};

constexpr int COLUMN_THREADS = 256;

template <bool VECTORS>
__device__ __forceinline__ void column_sum(const ColumnSum& p) {
    __shared__ __align__(16) float shared[5 * COLUMN_THREADS];
    const Team team(p.team_size);
    const uint32_t tile = blockIdx.x % p.tiles, output = blockIdx.x / p.tiles;
    const uint64_t group = output / p.chunks, begin = output % p.chunks * p.chunk;
    const uint32_t columns = 4 * team.size, first = VECTORS ? 4 * team.rank : team.rank;
    // Teams of a warp that write single elements begin in different banks.
    const uint32_t pitch = VECTORS ? columns : columns + team.size;
    const Columns<VECTORS> s{begin + team.number, min(begin + p.chunk, p.rows),     team.count, p.width,
                             tile * columns + first, VECTORS ? 1 : team.size};
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint32_t k = 0; s.has(k, 0); k += KEPT) {
        float v[KEPT][4];
        load(p.x, group * p.rows * p.width, s, k, v);
#pragma unroll
        for (int c = 0; c < 4; c++) sum[c] += (v[0][c] + v[1][c]) + (v[2][c] + v[3][c]);
    }
    float* own = shared + team.number * pitch + first;
    if (VECTORS) {
        *reinterpret_cast<float4*>(own) = make_float4(sum[0], sum[1], sum[2], sum[3]);
    } else {
#pragma unroll
        for (int c = 0; c < 4; c++) own[c * s.apart] = sum[c];
    }
    __syncthreads();
    const uint32_t column = tile * columns + threadIdx.x;
    if (threadIdx.x >= columns || column >= p.width) return;
    float total = shared[threadIdx.x];
    for (uint32_t t = 1; t < team.count; t++) total += shared[t * pitch + threadIdx.x];
    float* out = static_cast<float*>(p.out.address) + size_t(output) * p.width + column;
    *out = p.add ? *out + total : total;
}

// What is summed, in the order of `Term` in mod.rs.
enum Term : uint32_t { SUM, SQUARE, PRODUCT, ABS_DIFFERENCE, MAGNITUDE };

// `RowTotal` in cuda.rs. `out`: f32 `[rows]` where a row is one piece, else `partial`: `[rows, pieces]`.
struct RowTotal {
    Operand x, y, out;
    double* partial;
    uint64_t rows, width;
    uint32_t piece, pieces, team_size, term;
};

// The larger magnitude; NaN if either is.
__device__ __forceinline__ double larger(double a, double b) { return b > a || isnan(b) ? b : a; }

template <bool VECTORS, class F, class G>
__device__ __forceinline__ void row_total(const RowTotal& p, F term, G combine) {
    Team team(p.team_size);
    const uint64_t count = p.rows * p.pieces;
    for (uint64_t first = team.first_row(); first < count; first += team.row_step()) {
        const uint64_t item = first + team.number, row = item / p.pieces, begin = item % p.pieces * p.piece;
        const size_t base = row * p.width + begin;
        const Slots<VECTORS> s(team, item < count ? min(p.width - begin, uint64_t(p.piece)) : 0);
        double sum[1] = {0.0};
        for (uint32_t k = 0; s.has(k, 0); k += KEPT) {
            float x[KEPT][4], y[KEPT][4];
            load(p.x, base, s, k, x);
            load(p.y, base, s, k, y);
#pragma unroll
            for (int i = 0; i < KEPT; i++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    if (s.has(k + i, c)) sum[0] = combine(sum[0], term(double(x[i][c]), double(y[i][c])));
        }
        team.reduce(sum, 0.0, combine);
        if (item >= count || team.rank > 0) continue;
        if (p.partial)
            p.partial[item] = sum[0];
        else
            store(p.out, item, float(sum[0]));
    }
}

template <bool VECTORS>
__device__ __forceinline__ void row_total(const RowTotal& p) {
    const auto sum = [](double a, double b) { return a + b; };
    if (p.term == SUM) row_total<VECTORS>(p, [](double x, double) { return x; }, sum);
    if (p.term == SQUARE) row_total<VECTORS>(p, [](double x, double) { return x * x; }, sum);
    if (p.term == PRODUCT) row_total<VECTORS>(p, [](double x, double y) { return x * y; }, sum);
    if (p.term == ABS_DIFFERENCE) row_total<VECTORS>(p, [](double x, double y) { return fabs(x - y); }, sum);
    if (p.term == MAGNITUDE) row_total<VECTORS>(p, [](double x, double) { return fabs(x); }, larger);
}

// out[r] = factor * sum_i partial[r, i], or the largest; a block a row.
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    reduce_partials(const double* partial, Operand out, uint64_t pieces, double factor, uint32_t term) {
    Team team(blockDim.x);
    const auto combine = [=](double a, double b) { return term == MAGNITUDE ? larger(a, b) : a + b; };
    double sum[1] = {0.0};
    for (uint64_t i = threadIdx.x; i < pieces; i += blockDim.x)
        sum[0] = combine(sum[0], partial[blockIdx.x * pieces + i]);
    team.reduce(sum, 0.0, combine);
    if (threadIdx.x == 0) store(out, blockIdx.x, float(factor * sum[0]));
}

// The name ends with what a slot is: see `Slots`.
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) column_sum_vectors(ColumnSum p) { column_sum<true>(p); }
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) column_sum_scalars(ColumnSum p) { column_sum<false>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS) row_total_vectors(RowTotal p) { row_total<true>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS) row_total_scalars(RowTotal p) { row_total<false>(p); }
