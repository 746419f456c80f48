// Rows brought to one length: a team of threads a row, the row in registers from the first pass to the last.
#include "runtime/rows.cuh"

// `Problem` in cuda.rs.
struct Problem {
    Operand x, weight, y;
    uint64_t rows;
    uint32_t width, team_size, silu, unused;
};

template <bool VECTORS>
__device__ __forceinline__ void unit_norm(const Problem& p) {
    Team team(p.team_size);
    const float root = sqrtf(float(p.width));
    Rows<2> a{{p.x, p.weight}};
    a.keep(1, 0, Slots<VECTORS>(team, p.width));
    for (uint64_t first = team.first_row(); first < p.rows; first += team.row_step()) {
        const uint64_t row = first + team.number;
        const Slots<VECTORS> s(team, row < p.rows ? p.width : 0);
        a.keep(0, row * p.width, s);
        float squares[1] = {0.0f};
        a.each(s, [&](float (&v)[2]) { squares[0] = fmaf(v[0], v[0], squares[0]); });
        team.sum(squares);
        const float length = sqrtf(squares[0]);
        // Not `fmaxf`, which would replace a NaN.
        const float k = root / (length < 1e-12f ? 1e-12f : length);
        const uint32_t silu = p.silu;
        a.map(s, p.y, row * p.width, [=](float (&v)[2]) {
            const float u = v[0] * k * v[1];
            return silu ? u * (1.0f / (1.0f + expf(-u))) : u;
        });
    }
}

// The name ends with what a slot is: see `Slots`.
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) unit_norm_vectors(Problem p) { unit_norm<true>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) unit_norm_scalars(Problem p) { unit_norm<false>(p); }
