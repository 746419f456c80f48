// The turn of a pair, for every kernel that rotates.
#pragma once

// (a, b) -> (a cos - b sin, a sin + b cos), the operations those of the CPU.
__device__ __forceinline__ float2 turn(float a, float b, float cos, float sin) {
    return make_float2(fmaf(a, cos, b * -sin), fmaf(b, cos, a * sin));
}
