// Exponential moving average, one pass at memory speed. The operations are the CPU's, so the bits are too.
#include "runtime/elements.cuh"

// average = decay average + rest x, rest = 1 - decay
extern "C" __global__ void lerp(Operand average, Operand x, float decay, float rest, uint64_t n, uint32_t vectors) {
    map({average, x}, average, n, vectors, [=](float (&a)[2]) { return fmaf(decay, a[0], rest * a[1]); });
}
