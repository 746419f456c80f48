// A thread's share of an operand: one element, or four neighbours.
#pragma once
#include "runtime/device.cuh"

// Elements `V i .. V i + V`. With V = 4 the operand's first element lies at a multiple of four elements.
template <int V>
struct Elements {
    static_assert(V == 1 || V == 4);
    float x[V];

    __device__ __forceinline__ Elements() {}

    __device__ __forceinline__ Elements(const Operand& from, size_t i) {
        if constexpr (V == 4) {
            const float4 four = load4(from, i);
            x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
        } else {
            x[0] = load(from, i);
        }
    }

    __device__ __forceinline__ void put(const Operand& to, size_t i) const {
        if constexpr (V == 4)
            store4(to, i, make_float4(x[0], x[1], x[2], x[3]));
        else
            store(to, i, x[0]);
    }
};
