// Random numbers as on the CPU, bit for bit (see mod.rs and cpu.rs): the same operations in the same order, and every
// one of f64 by an intrinsic that nvcc may not fuse. A thread makes a block of four elements: ten rounds of integers,
// and for normal numbers about 90 operations of f64 a pair.
#include "runtime/device.cuh"

// The words of block `index` of a stream: Philox4x32-10.
__device__ __forceinline__ uint4 philox(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
    uint4 w = make_uint4(uint32_t(index), uint32_t(index >> 32), uint32_t(stream), uint32_t(stream >> 32));
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint64_t first = uint64_t(0xd2511f53u) * w.x, second = uint64_t(0xcd9e8d57u) * w.z;
        w = make_uint4(uint32_t(second >> 32) ^ w.y ^ key0, uint32_t(second), uint32_t(first >> 32) ^ w.w ^ key1,
                       uint32_t(first));
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return w;
}

// ln((w + 1) 2^-32): w + 1 = m 2^e with m in sqrt(1/2) .. sqrt(2), ln m = 2 artanh t.
__device__ __forceinline__ double ln_fraction(uint32_t w) {
    constexpr int64_t SQRT_HALF = 0x3fe6a09e667f3bcd;
    constexpr double LN_2 = 0.693147180559945309417232121458176568;
    const int64_t bits = __double_as_longlong(__ull2double_rn(uint64_t(w) + 1));
    const int64_t e = (bits - SQRT_HALF) >> 52;
    const double m = __longlong_as_double(bits - (e << 52));
    const double t = __ddiv_rn(__dsub_rn(m, 1.0), __dadd_rn(m, 1.0)), s = __dmul_rn(t, t);
    constexpr double COEFFICIENTS[] = {2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0,
                                       2.0 / 7.0,  2.0 / 5.0,  2.0 / 3.0,  2.0 / 1.0};
    double p = 2.0 / 17.0;
#pragma unroll
    for (double c : COEFFICIENTS) p = __dadd_rn(__dmul_rn(p, s), c);
    return __dadd_rn(__dmul_rn(__int2double_rn(int(e) - 32), LN_2), __dmul_rn(t, p));
}

// Cosine (x) and sine (y) of w 2^-32 turns: the nearest quarter turn, and the Taylor series of the rest.
__device__ __forceinline__ double2 cos_sin_turn(uint32_t w) {
    constexpr double TAU = 6.28318530717958647692528676655900577, TWO_TO_32 = 4294967296.0;
    constexpr uint32_t EIGHTH = 1u << 29;
    // Past the last eighth the number of quarters goes on to 4; only its lowest two bits are used.
    const uint32_t turned = w + EIGHTH, quarter = turned >> 30;
    const int rest = int(turned & (2 * EIGHTH - 1)) - int(EIGHTH);
    const double x = __dmul_rn(__int2double_rn(rest), TAU / TWO_TO_32), s = __dmul_rn(x, x);
    double cos = 1.0, sin = 1.0;
#pragma unroll
    for (int i = 8; i > 0; i--) {
        const double k = 2.0 * i;
        cos = __dsub_rn(1.0, __dmul_rn(__dmul_rn(cos, s), 1.0 / (k * (k - 1.0))));
        sin = __dsub_rn(1.0, __dmul_rn(__dmul_rn(sin, s), 1.0 / (k * (k + 1.0))));
    }
    sin = __dmul_rn(sin, x);
    // In odd quarters they change places; cosine is negative in quarters 1 and 2, sine in 2 and 3.
    const double a = quarter & 1 ? sin : cos, b = quarter & 1 ? cos : sin;
    return make_double2((quarter + 1) & 2 ? -a : a, quarter & 2 ? -b : b);
}

// r cos t and r sin t with r = sqrt(-2 ln((a + 1) 2^-32)) and t = 2 pi b 2^-32.
__device__ __forceinline__ float2 box_muller(uint32_t a, uint32_t b) {
    const double radius = __dsqrt_rn(__dmul_rn(-2.0, ln_fraction(a)));
    const double2 turn = cos_sin_turn(b);
    return make_float2(__double2float_rn(__dmul_rn(radius, turn.x)), __double2float_rn(__dmul_rn(radius, turn.y)));
}

// out[i] = element `offset + i` of a stream, `convert` of its block's words. A thread has whole blocks; `vectors`: they
// are whole vectors of `out`.
template <class Convert>
__device__ __forceinline__ void fill(const Operand& out, uint64_t seed, uint64_t stream, uint64_t offset, uint64_t n,
                                     uint32_t vectors, Convert convert) {
    const uint64_t skip = offset % 4, blocks = (skip + n + 3) / 4;
    for (uint64_t i = thread_index(); i < blocks; i += thread_count()) {
        const float4 four = convert(philox(seed, stream, offset / 4 + i));
        if (vectors && 4 * i + 4 <= n) {
            store4(out, i, four);
            continue;
        }
        const float elements[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            // Far beyond `n` where it would be negative.
            const uint64_t at = 4 * i + k - skip;
            if (at < n) store(out, at, elements[k]);
        }
    }
}

extern "C" __global__ void normal(Operand out, uint64_t seed, uint64_t stream, uint64_t offset, uint64_t n,
                                  uint32_t vectors) {
    fill(out, seed, stream, offset, n, vectors, [](uint4 w) {
        const float2 low = box_muller(w.x, w.y), high = box_muller(w.z, w.w);
        return make_float4(low.x, low.y, high.x, high.y);
    });
}

// 24 bits are exact in f32.
extern "C" __global__ void uniform(Operand out, uint64_t seed, uint64_t stream, uint64_t offset, uint64_t n,
                                   uint32_t vectors) {
    fill(out, seed, stream, offset, n, vectors, [](uint4 w) {
        constexpr float UNIT = 1.0f / 16777216.0f;
        return make_float4(float(w.x >> 8) * UNIT, float(w.y >> 8) * UNIT, float(w.z >> 8) * UNIT,
                           float(w.w >> 8) * UNIT);
    });
}
