// What all kernels share on the device: operands of either type, a thread's place in the grid, the sum over a warp.
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

// The sum over the warp, the same bits in every lane: partners are fixed by the lanes' numbers.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffff, v, lane);
    return v;
}
