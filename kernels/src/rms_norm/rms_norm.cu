// Root-mean-square normalisation: a team of threads a row, the row in registers from the first pass to the last. The
// backward pass sums down the columns on the way, as layer_norm.cu does. With slots of four neighbours, which are two
// pairs, the row is turned on its way out, and its gradient on its way in.
#include "rope/turn.cuh"
#include "runtime/column_sums.cuh"

// `DeviceRotation` in cuda.rs.
struct Rotation {
    Operand cos, sin;  // f32 `[tokens, pairs]`
    uint64_t tokens;
    uint32_t pairs;    // of a head
    uint32_t vectors;  // the angles of both pairs of a slot are neighbours, and begin at a multiple of two elements
};

// The angles of one row.
struct Angles {
    const float *cos, *sin;
    uint32_t pairs, vectors;

    __device__ __forceinline__ Angles(const Rotation& r, uint64_t row) : pairs(r.pairs), vectors(r.vectors) {
        const size_t first = row % r.tokens * r.pairs;
        cos = static_cast<const float*>(r.cos.address) + first;
        sin = static_cast<const float*>(r.sin.address) + first;
    }

    // Turns elements `j .. j + 4` of the row by their angles times `sign`.
    __device__ __forceinline__ void turn_slot(float (&v)[4], uint32_t j, float sign) const {
        const uint32_t pair = j / 2 % pairs;
        float2 c, s;
        if (vectors) {
            c = reinterpret_cast<const float2*>(cos)[pair / 2];
            s = reinterpret_cast<const float2*>(sin)[pair / 2];
        } else {
            const uint32_t next = (j / 2 + 1) % pairs;
            c = make_float2(cos[pair], cos[next]);
            s = make_float2(sin[pair], sin[next]);
        }
        const float2 low = turn(v[0], v[1], c.x, sign * s.x), high = turn(v[2], v[3], c.y, sign * s.y);
        v[0] = low.x, v[1] = low.y, v[2] = high.x, v[3] = high.y;
    }
};

// `Forward` in cuda.rs.
struct Forward {
    Operand x, weight, y, rstd;
    uint64_t rows;
    uint32_t width, team_size;
    float eps;
    uint32_t unused;
};

template <bool VECTORS, bool ROTATED>
__device__ __forceinline__ void forward(const Forward& p, const Rotation& rotation) {
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
        if constexpr (ROTATED) {
            const Angles angles(rotation, row);
            a.slots(s, [&](uint32_t k, bool, float (&v)[2][4]) {
                float y[4];
#pragma unroll
                for (int c = 0; c < 4; c++) y[c] = v[0][c] * rstd * v[1][c];
                if (s.has(k, 0)) angles.turn_slot(y, s.at(k, 0), 1.0f);
                store(p.y, row * p.width, s, k, y);
            });
        } else {
            a.map(s, p.y, row * p.width, [=](float (&v)[2]) { return v[0] * rstd * v[1]; });
        }
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

// Where it is turned back, a row has no slots beyond those that are kept.
template <bool VECTORS, bool ROTATED>
__device__ __forceinline__ void backward(const Backward& p, const Rotation& rotation) {
    extern __shared__ __align__(16) float shared[];
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
        if constexpr (ROTATED) {
            const Angles angles(rotation, row);
#pragma unroll
            for (int k = 0; k < KEPT; k++)
                if (s.has(k, 0)) angles.turn_slot(a.kept[1][k], s.at(k, 0), -1.0f);
        }
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
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) rms_norm_forward_vectors(Forward p) {
    forward<true, false>(p, {});
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) rms_norm_forward_scalars(Forward p) {
    forward<false, false>(p, {});
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) rms_norm_rope_forward(Forward p, Rotation rotation) {
    forward<true, true>(p, rotation);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) rms_norm_backward_vectors(Backward p) {
    backward<true, false>(p, {});
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) rms_norm_backward_scalars(Backward p) {
    backward<false, false>(p, {});
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 1) rms_norm_rope_backward(Backward p, Rotation rotation) {
    backward<true, true>(p, rotation);
}
