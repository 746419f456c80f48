// SiLU, one pass at memory speed.
#include "runtime/elements.cuh"

// `1 / (1 + exp(-x))`; exp overflows to infinity for very negative x, which gives the limit 0.
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// y = x sigmoid(x)
extern "C" __global__ void silu_forward(Operand x, Operand y, uint64_t n, uint32_t vectors) {
    map({x}, y, n, vectors, [](float (&a)[1]) { return a[0] * sigmoid(a[0]); });
}

// dx = dy s (1 + x (1 - s)), s = sigmoid(x)
extern "C" __global__ void silu_backward(Operand x, Operand dy, Operand dx, uint64_t n, uint32_t vectors) {
    map({x, dy}, dx, n, vectors, [](float (&a)[2]) {
        const float s = sigmoid(a[0]);
        return a[1] * (s * fmaf(a[0], 1.0f - s, 1.0f));
    });
}
