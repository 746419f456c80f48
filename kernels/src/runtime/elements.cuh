// A thread's share of an operand, one element or four neighbours, and the loop over all elements.
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

// y[out ..] = f(x[0][at[0] ..], x[1][at[1] ..], ..) for `V` elements; places are counted in steps of `V`.
template <int V, int N, class F>
__device__ __forceinline__ void map_elements(const Operand (&x)[N], const size_t (&at)[N], const Operand& y, size_t out,
                                             F f) {
    Elements<V> v[N], result;
#pragma unroll
    for (int k = 0; k < N; k++) v[k] = Elements<V>(x[k], at[k]);
#pragma unroll
    for (int j = 0; j < V; j++) {
        float a[N];
#pragma unroll
        for (int k = 0; k < N; k++) a[k] = v[k].x[j];
        result.x[j] = f(a);
    }
    result.put(y, out);
}

// The same where all operands have their elements at the same place.
template <int V, int N, class F>
__device__ __forceinline__ void map_elements(const Operand (&x)[N], const Operand& y, size_t i, F f) {
    size_t at[N];
#pragma unroll
    for (int k = 0; k < N; k++) at[k] = i;
    map_elements<V>(x, at, y, i, f);
}

// y[i] = f(x[0][i], x[1][i], ..) for all i below n, by all threads of the grid. `vectors`: every operand's first element lies at a multiple of
// four elements.
template <int N, class F>
__device__ __forceinline__ void map(const Operand (&x)[N], const Operand& y, size_t n, uint32_t vectors, F f) {
    size_t i = thread_index();
    if (vectors) {
        for (; i < n / 4; i += thread_count()) map_elements<4>(x, y, i, f);
        i = n / 4 * 4 + thread_index();
    }
    for (; i < n; i += thread_count()) map_elements<1>(x, y, i, f);
}
