// AdamW, one pass at memory speed over parameter, gradient and both moments. The operations are the CPU's, so the bits
// are too.
#include "runtime/elements.cuh"

// `Factors` in cpu.rs.
struct Factors {
    float grad_scale;
    float first, first_rest;    // beta1, 1 - beta1
    float second, second_rest;  // beta2, 1 - beta2
    float root;                 // 1 / sqrt(1 - beta2^step)
    float eps;
    float decay;  // 1 - lr weight_decay
    float rate;   // -lr / (1 - beta1^step)
};

// All f32 but the gradient, of either type, and the shadow, bf16. Shadow and average may be absent.
struct State {
    Operand param, grad, m, v, shadow, average;
};

// The average's decay, and 1 - decay.
struct Follow {
    float decay, rest;
};

// Elements `V i .. V i + V`.
template <int V>
__device__ __forceinline__ void step(const State& state, const Factors& f, const Follow& follow, size_t i) {
    Elements<V> param(state.param, i), m(state.m, i), v(state.v, i);
    const Elements<V> grad(state.grad, i);
#pragma unroll
    for (int k = 0; k < V; k++) {
        const float g = f.grad_scale * grad.x[k];
        m.x[k] = fmaf(f.first, m.x[k], f.first_rest * g);
        v.x[k] = fmaf(f.second, v.x[k], f.second_rest * (g * g));
        const float denominator = fmaf(sqrtf(v.x[k]), f.root, f.eps);
        param.x[k] = fmaf(f.decay, param.x[k], f.rate * m.x[k] / denominator);
    }
    param.put(state.param, i);
    m.put(state.m, i);
    v.put(state.v, i);
    if (state.shadow.present) param.put(state.shadow, i);
    if (!state.average.present) return;
    Elements<V> average(state.average, i);
#pragma unroll
    for (int k = 0; k < V; k++) average.x[k] = fmaf(follow.decay, average.x[k], follow.rest * param.x[k]);
    average.put(state.average, i);
}

extern "C" __global__ void adamw(State state, Factors factors, Follow follow, uint64_t n, uint32_t vectors) {
    size_t i = thread_index();
    if (vectors) {
        for (; i < n / 4; i += thread_count()) step<4>(state, factors, follow, i);
        i = n / 4 * 4 + thread_index();
    }
    for (; i < n; i += thread_count()) step<1>(state, factors, follow, i);
}
