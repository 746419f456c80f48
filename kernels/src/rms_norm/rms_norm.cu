// Root-mean-square normalisation: a team of threads a row, the row in registers from the first pass to the last. The
// backward pass sums down the columns on the way, as layer_norm.cu does.
#include "runtime/column_sums.cuh"

// `Forward` in cuda.rs.
struct Forward {
    Operand x, weight, y, rstd;
    uint64_t rows;
    uint32_t width, team_size;
    float eps;
    uint32_t unused;
};

template <bool VECTORS>
__device__ __forceinline__ void forward(const Forward& p) {
    Team team(p.team_size);
    const float n = max(p.width, 1);
    Rows<2> a{{p.x, p.weight}};
    a.keep(1, 0, Slots<VECTORS>(team, p.width));
    for (uint64_t first = team.first_row(); first < p.rows; first += team.row_step()) {
        const uint64_t row = first + team.number;
        const Slots<VECTORS> s(team, row < p.rows ? p.width : 0);
        a.keep(0, row * p.width, s);
        float squares[1] = {0.0f};
        a.each(s, [&](float (&v)[2]) { squares[0] = fmaf(v[0], v[0], squares[0]); });
        team.sum(squares);
        const float rstd = 1.0f / sqrtf(squares[0] / n + p.eps);
        a.map(s, p.y, row * p.width, [=](float (&v)[2]) { return v[0] * rstd * v[1]; });
        if (row < p.rows && team.rank == 0) store(p.rstd, row, rstd);
    }
}

// `Backward` in cuda.rs. Block `c` takes rows `c * chunk ..`. `dweight` is the accumulator where there is one block,
// else partial sums `[chunks, width]`.
struct Backward {
    Operand x, weight, rstd, dy, dx, dweight;
    uint64_t rows, chunk;
    uint32_t chunks, width, team_size, unused;
};

template <bool VECTORS>
__device__ __forceinline__ void backward(const Backward& p) {
    extern __shared__ float shared[];
    Team team(p.team_size);
    const float n = p.width;
    const uint64_t begin = blockIdx.x * p.chunk, end = min(begin + p.chunk, p.rows);
    const Slots<VECTORS> whole(team, p.width);
    ColumnSums<1> sums({p.dweight}, blockIdx.x, p.width, p.chunks == 1);
    Rows<3> a{{p.x, p.dy, p.weight}};
    a.keep(2, 0, whole);
    for (uint64_t first = begin; first < end; first += team.count) {
        const uint64_t row = first + team.number;
        const Slots<VECTORS> s(team, row < end ? p.width : 0);
        a.keep(0, row * p.width, s);
        a.keep(1, row * p.width, s);
        const float rstd = row < end ? load(p.rstd, row) : 0.0f;
        float mean[1] = {0.0f};
        a.each(s, [&](float (&v)[3]) { mean[0] = fmaf(v[1] * v[2], v[0] * rstd, mean[0]); });
        team.sum(mean);
        const float of_product = mean[0] / n;
        sums.map(a, s, p.dx, row * p.width, first > begin, [=](float (&v)[3], float (&terms)[1]) {
            const float xhat = v[0] * rstd;
            terms[0] = v[1] * xhat;
            return rstd * (v[1] * v[2] - xhat * of_product);
        });
    }
    sums.finish(team, whole, shared);
}

// The name ends with what a slot is: see `Slots`.
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) rms_norm_forward_vectors(Forward p) { forward<true>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) rms_norm_forward_scalars(Forward p) { forward<false>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) rms_norm_backward_vectors(Backward p) {
    backward<true>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) rms_norm_backward_scalars(Backward p) {
    backward<false>(p);
}
