// What all kernels share on the device: operands of either type, loops over elements, reductions in a fixed order.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

// `Operand` in memory.rs. Its type is the same for all threads of a launch, so a branch on it costs next to nothing
// beside the access.
struct Operand {
    void* address;
    uint32_t dtype;    // one of the below
    uint32_t present;  // 0 for an optional operand that is not there
};

constexpr uint32_t F32 = 0, BF16 = 1;

__device__ __forceinline__ float widen(uint32_t bits) { return __uint_as_float(bits << 16); }

// Element `i`, widened.
__device__ __forceinline__ float load(const Operand& x, size_t i) {
    if (x.dtype == BF16) return widen(static_cast<const uint16_t*>(x.address)[i]);
    return static_cast<const float*>(x.address)[i];
}

// Element `i`, rounded to nearest even where it is stored as bf16.
__device__ __forceinline__ void store(const Operand& y, size_t i, float value) {
    if (y.dtype == BF16)
        static_cast<__nv_bfloat16*>(y.address)[i] = __float2bfloat16_rn(value);
    else
        static_cast<float*>(y.address)[i] = value;
}

// Elements `4 i .. 4 i + 4`; the operand's first element lies at a multiple of four elements.
__device__ __forceinline__ float4 load4(const Operand& x, size_t i) {
    if (x.dtype == BF16) {
        const uint2 two = static_cast<const uint2*>(x.address)[i];
        return make_float4(widen(two.x & 0xffff), widen(two.x >> 16), widen(two.y & 0xffff), widen(two.y >> 16));
    }
    return static_cast<const float4*>(x.address)[i];
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
    const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const uint32_t&>(two);
}

__device__ __forceinline__ void store4(const Operand& y, size_t i, float4 v) {
    if (y.dtype == BF16)
        static_cast<uint2*>(y.address)[i] = make_uint2(pack(v.x, v.y), pack(v.z, v.w));
    else
        static_cast<float4*>(y.address)[i] = v;
}

// This thread's number in a grid along x, and how many there are.
__device__ __forceinline__ size_t thread_index() { return size_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ size_t thread_count() { return size_t(gridDim.x) * blockDim.x; }

// y[i] = f(x[0][i], x[1][i], ..) for all i below n, by all threads of the grid. `vectors`: every operand's first element
// lies at a multiple of four elements.
template <int N, class F>
__device__ __forceinline__ void map(const Operand (&x)[N], const Operand& y, size_t n, uint32_t vectors, F f) {
    size_t i = thread_index();
    if (vectors) {
        for (; i < n / 4; i += thread_count()) {
            float4 v[N], result;
#pragma unroll
            for (int k = 0; k < N; k++) v[k] = load4(x[k], i);
            float a[N];
#pragma unroll
            for (int k = 0; k < N; k++) a[k] = v[k].x;
            result.x = f(a);
#pragma unroll
            for (int k = 0; k < N; k++) a[k] = v[k].y;
            result.y = f(a);
#pragma unroll
            for (int k = 0; k < N; k++) a[k] = v[k].z;
            result.z = f(a);
#pragma unroll
            for (int k = 0; k < N; k++) a[k] = v[k].w;
            result.w = f(a);
            store4(y, i, result);
        }
        i = n / 4 * 4 + thread_index();
    }
    for (; i < n; i += thread_count()) {
        float a[N];
#pragma unroll
        for (int k = 0; k < N; k++) a[k] = load(x[k], i);
        store(y, i, f(a));
    }
}

// The sum over the warp, the same bits in every lane: partners are fixed by the lanes' numbers.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffff, v, lane);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, lane));
    return v;
}

// The sum over a block whose threads are whole warps along x, at most 1024, the same bits in every thread. All threads
// of the block call it; `shared` has room for 32 floats and may be used again right away.
__device__ __forceinline__ float block_sum(float v, float* shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    v = warp_sum(v);
    if (lane == 0) shared[warp] = v;
    __syncthreads();
    v = warp_sum(lane < warps ? shared[lane] : 0.0f);
    __syncthreads();
    return v;
}
