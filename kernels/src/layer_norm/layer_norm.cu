// Layer normalisation: a team of threads a row, the row in registers from the first pass to the last.
//
// Mean and variance are taken in two passes, as on the CPU. The backward pass reads `x` and `dy` once for `dx` and for
// the sums down the columns: a block takes consecutive rows of one group and keeps its share of both sums in
// registers.
//
// Counted on the emulator at [512, 384] in bf16, per element: forward 8.0 bytes, half of them weight and bias from the
// cache, and 57 PTX instructions; backward 7.2 bytes, 0.3 for adding partial sums, and 57. All accesses touch the
// fewest sectors. By issue slots that is near the time of the bytes on an A100 and above it on an H100: fewer integer
// instructions are what could be won.
#include "runtime/column_sums.cuh"

// `Forward` in cuda.rs.
struct Forward {
    Operand x, weight, bias, y, mean, rstd;
    uint64_t rows, rows_per_group;
    uint32_t width, team_size;
    float weight_offset, eps;
};

template <bool VECTORS>
__device__ __forceinline__ void forward(const Forward& p) {
    Team team(p.team_size);
    const float n = max(p.width, 1);
    // Absent, the whole factor is 1.
    const float offset = p.weight.present ? p.weight_offset : 1.0f;
    for (uint64_t first = team.first_row(); first < p.rows; first += team.row_step()) {
        const uint64_t row = first + team.number, group = row / p.rows_per_group;
        const Slots<VECTORS> s(team, row < p.rows ? p.width : 0);
        Rows<3> a{{p.x, p.weight, p.bias}};
        a.keep(0, row * p.width, s);
        a.keep(1, group * p.width, s);
        a.keep(2, group * p.width, s);

        float sum[1] = {0.0f};
        a.each(s, [&](float (&v)[3]) { sum[0] += v[0]; });
        team.sum(sum);
        const float mean = sum[0] / n;
        float squares[1] = {0.0f};
        a.each(s, [&](float (&v)[3]) { squares[0] = fmaf(v[0] - mean, v[0] - mean, squares[0]); });
        team.sum(squares);
        const float rstd = 1.0f / sqrtf(squares[0] / n + p.eps);

        a.map(s, p.y, row * p.width, [=](float (&v)[3]) { return fmaf((v[0] - mean) * rstd, v[1] + offset, v[2]); });
        if (row < p.rows && team.rank == 0) {
            store(p.mean, row, mean);
            store(p.rstd, row, rstd);
        }
    }
}

// `Backward` in cuda.rs. Block `g * chunks + c` takes rows `c * chunk ..` of group `g`. `dweight` and `dbias` are
// accumulators `[groups, width]` where a group is one chunk, else partial sums `[groups * chunks, width]`.
struct Backward {
    Operand x, weight, mean, rstd, dy, dx, dweight, dbias;
    uint64_t rows_per_group, chunk;
    uint32_t chunks, width, team_size;
    float weight_offset;
};

template <bool VECTORS>
__device__ __forceinline__ void backward(const Backward& p) {
    extern __shared__ __align__(16) float shared[];
    Team team(p.team_size);
    const float n = p.width;
    const float offset = p.weight.present ? p.weight_offset : 1.0f;
    const uint64_t group = blockIdx.x / p.chunks, begin = blockIdx.x % p.chunks * p.chunk;
    const uint64_t end = min(begin + p.chunk, p.rows_per_group);
    const Slots<VECTORS> whole(team, p.width);
    ColumnSums<2> sums({p.dweight, p.dbias}, blockIdx.x, p.width, p.chunks == 1);
    Rows<3> a{{p.x, p.dy, p.weight}};
    a.keep(2, group * p.width, whole);
    for (uint64_t first = begin; first < end; first += team.count) {
        const bool present = first + team.number < end;
        const uint64_t row = group * p.rows_per_group + first + team.number;
        const Slots<VECTORS> s(team, present ? p.width : 0);
        a.keep(0, row * p.width, s);
        a.keep(1, row * p.width, s);
        const float mean = present ? load(p.mean, row) : 0.0f, rstd = present ? load(p.rstd, row) : 0.0f;

        float means[2] = {0.0f, 0.0f};
        a.each(s, [&](float (&v)[3]) {
            const float d = v[1] * (v[2] + offset);
            means[0] += d;
            means[1] = fmaf(d, (v[0] - mean) * rstd, means[1]);
        });
        team.sum(means);
        const float of_d = means[0] / n, of_product = means[1] / n;

        sums.map(a, s, p.dx, row * p.width, first > begin, [=](float (&v)[3], float (&terms)[2]) {
            const float xhat = (v[0] - mean) * rstd, d = v[1] * (v[2] + offset) - of_d;
            terms[0] = v[1] * xhat;
            terms[1] = v[1];
            return rstd * (d - xhat * of_product);
        });
    }
    sums.finish(team, whole, shared);
}

// The name ends with what a slot is: see `Slots`.
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) layer_norm_forward_vectors(Forward p) {
    forward<true>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) layer_norm_forward_scalars(Forward p) {
    forward<false>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) layer_norm_backward_vectors(Backward p) {
    backward<true>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) layer_norm_backward_scalars(Backward p) {
    backward<false>(p);
}
