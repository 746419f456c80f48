// Softmax along rows: a team of threads a row, the row in registers from the first pass to the last. Rows that are too
// wide for it are read three times forward and twice backward.
#include "runtime/rows.cuh"

// `Rows` in cuda.rs: forward `x` and `y` are the input and the output, backward `x` and `dy` are the output of the
// forward pass and its gradient, and `y` is `dx`.
struct Operands {
    Operand x, dy, y;
    uint64_t rows;
    uint32_t width, team_size;
};

template <bool VECTORS>
__device__ __forceinline__ void forward(const Operands& p) {
    Team team(p.team_size);
    for (uint64_t first = team.first_row(); first < p.rows; first += team.row_step()) {
        const uint64_t row = first + team.number;
        const Slots<VECTORS> s(team, row < p.rows ? p.width : 0);
        Rows<1> a{{p.x}};
        a.keep(0, row * p.width, s);
        // A NaN may get lost here: it comes back with the difference from the maximum.
        float largest[1] = {-INFINITY};
        a.each(s, [&](float (&v)[1]) { largest[0] = fmaxf(largest[0], v[0]); });
        team.reduce(largest, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
        const float max = largest[0];
        float sum[1] = {0.0f};
        a.each(s, [&](float (&v)[1]) { sum[0] += expf(v[0] - max); });
        team.sum(sum);
        const float scale = 1.0f / sum[0];
        a.map(s, p.y, row * p.width, [=](float (&v)[1]) { return expf(v[0] - max) * scale; });
    }
}

template <bool VECTORS>
__device__ __forceinline__ void backward(const Operands& p) {
    Team team(p.team_size);
    for (uint64_t first = team.first_row(); first < p.rows; first += team.row_step()) {
        const uint64_t row = first + team.number;
        const Slots<VECTORS> s(team, row < p.rows ? p.width : 0);
        Rows<2> a{{p.x, p.dy}};
        a.keep(0, row * p.width, s);
        a.keep(1, row * p.width, s);
        float dot[1] = {0.0f};
        a.each(s, [&](float (&v)[2]) { dot[0] = fmaf(v[0], v[1], dot[0]); });
        team.sum(dot);
        const float mean = dot[0];
        a.map(s, p.y, row * p.width, [=](float (&v)[2]) { return v[0] * (v[1] - mean); });
    }
}

// The name ends with what a slot is: see `Slots`.
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) softmax_forward_vectors(Operands p) { forward<true>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) softmax_forward_scalars(Operands p) { forward<false>(p); }
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) softmax_backward_vectors(Operands p) {
    backward<true>(p);
}
extern "C" __global__ void __launch_bounds__(MAX_THREADS, 2) softmax_backward_scalars(Operands p) {
    backward<false>(p);
}
