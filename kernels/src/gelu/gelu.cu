// GELU, one pass at memory speed: one exponential and one or two quotients an element, about 40 instructions, of which
// the memory of an A100 leaves time for about 100 (f32) or 50 (bf16).
#include "runtime/elements.cuh"

constexpr float TWO_SQRT_2_OVER_PI = 1.595769121606f, CUBIC = 0.044715f;
constexpr float LOG2_E = 1.442695040889f, SQRT_HALF = 0.707106781187f, INV_SQRT_2_PI = 0.398942280401f;

// e^{-2u} with 2u = 2 sqrt(2/pi) (x + 0.044715 x^3), as a power of two. Infinite for very negative x, which x and its
// slope are divided by to nothing.
__device__ __forceinline__ float exp_minus_2u(float x, float square) {
    constexpr float LINEAR = -TWO_SQRT_2_OVER_PI * LOG2_E;
    return exp2f(x * fmaf(square, LINEAR * CUBIC, LINEAR));
}

// x / (1 + e^{-2u}), which is x/2 (1 + tanh u) with one exponential and no cancellation for negative x.
__device__ __forceinline__ float tanh_form(float x) { return x / (1.0f + exp_minus_2u(x, x * x)); }

// g + x g (1 - g) 2u' with g = 1 / (1 + e^{-2u})
__device__ __forceinline__ float tanh_slope(float x) {
    const float square = x * x, gate = 1.0f / (1.0f + exp_minus_2u(x, square));
    const float du = fmaf(square, 3.0f * TWO_SQRT_2_OVER_PI * CUBIC, TWO_SQRT_2_OVER_PI);
    return fmaf(gate, x * (1.0f - gate) * du, gate);
}

// The normal distribution's upper tail Q(x) = erfc(x / sqrt 2) / 2 for x >= 0, and e^{-x^2 / 2}: Abramowitz and Stegun
// 7.1.26, absolute error of erfc below 1.5e-7. The quotient's two units in the last place do not show beside that.
struct Tail {
    float tail, exponential;

    __device__ __forceinline__ explicit Tail(float x) {
        const float t = __fdividef(1.0f, fmaf(0.3275911f * SQRT_HALF, x, 1.0f));
        float p = 0.5f * 1.061405429f;
        p = fmaf(p, t, 0.5f * -1.453152027f);
        p = fmaf(p, t, 0.5f * 1.421413741f);
        p = fmaf(p, t, 0.5f * -0.284496736f);
        p = fmaf(p, t, 0.5f * 0.254829592f);
        exponential = expf(x * x * -0.5f);
        tail = p * t * exponential;
    }
};

// x Phi(x) = max(x, 0) - |x| Q(|x|), which does not cancel for negative x.
__device__ __forceinline__ float erf_form(float x) { return fmaf(-fabsf(x), Tail(fabsf(x)).tail, fmaxf(x, 0.0f)); }

// Phi(x) + x phi(x)
__device__ __forceinline__ float erf_slope(float x) {
    const Tail q(fabsf(x));
    const float cumulative = x >= 0.0f ? 1.0f - q.tail : q.tail;
    return fmaf(x, INV_SQRT_2_PI * q.exponential, cumulative);
}

// y = gelu(x)
extern "C" __global__ void gelu_tanh_forward(Operand x, Operand y, uint64_t n, uint32_t vectors) {
    map({x}, y, n, vectors, [](float (&a)[1]) { return tanh_form(a[0]); });
}

extern "C" __global__ void gelu_erf_forward(Operand x, Operand y, uint64_t n, uint32_t vectors) {
    map({x}, y, n, vectors, [](float (&a)[1]) { return erf_form(a[0]); });
}

// dx = dy gelu'(x)
extern "C" __global__ void gelu_tanh_backward(Operand x, Operand dy, Operand dx, uint64_t n, uint32_t vectors) {
    map({x, dy}, dx, n, vectors, [](float (&a)[2]) { return a[1] * tanh_slope(a[0]); });
}

extern "C" __global__ void gelu_erf_backward(Operand x, Operand dy, Operand dx, uint64_t n, uint32_t vectors) {
    map({x, dy}, dx, n, vectors, [](float (&a)[2]) { return a[1] * erf_slope(a[0]); });
}
