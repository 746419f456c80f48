// Rotary position embedding, one pass at memory speed. A thread keeps the angles of two neighbouring pairs (or one)
// of a token and turns those pairs of all heads, so the tables are read once.
#include "rope/turn.cuh"
#include "runtime/device.cuh"

// `sign`: 1 forward, -1 for the negated angle. Threads along y have rows `b * tokens + t`, threads along x the pairs of
// a head, blocks along y some of the heads. `vectors`: two pairs a thread, whose number is even and whose addresses are
// those of whole vectors.
extern "C" __global__ void rope(Operand x, Operand cos, Operand sin, Operand y, uint64_t rows, uint64_t tokens,
                                uint64_t heads, uint64_t pairs, float sign, uint32_t vectors) {
    const float* cos_table = static_cast<const float*>(cos.address);
    const float* sin_table = static_cast<const float*>(sin.address);
    size_t row = size_t(blockIdx.x) * blockDim.y + threadIdx.y;
    for (; row < rows; row += size_t(gridDim.x) * blockDim.y) {
        const size_t angles = row % tokens * pairs;
        if (vectors) {
            for (size_t two = threadIdx.x; two < pairs / 2; two += blockDim.x) {
                const float2 c = reinterpret_cast<const float2*>(cos_table + angles)[two];
                const float2 s = reinterpret_cast<const float2*>(sin_table + angles)[two];
#pragma unroll 4
                for (size_t head = blockIdx.y; head < heads; head += gridDim.y) {
                    const size_t at = (row * heads + head) * (pairs / 2) + two;
                    const float4 v = load4(x, at);
                    const float2 low = turn(v.x, v.y, c.x, sign * s.x), high = turn(v.z, v.w, c.y, sign * s.y);
                    store4(y, at, make_float4(low.x, low.y, high.x, high.y));
                }
            }
        } else {
            for (size_t pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
                const float c = cos_table[angles + pair], s = sign * sin_table[angles + pair];
                for (size_t head = blockIdx.y; head < heads; head += gridDim.y) {
                    const size_t at = 2 * ((row * heads + head) * pairs + pair);
                    const float2 v = turn(load(x, at), load(x, at + 1), c, s);
                    store(y, at, v.x);
                    store(y, at + 1, v.y);
                }
            }
        }
    }
}
