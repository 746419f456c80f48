// The convolution as a product whose left operand is gathered from the frames: a block computes 64 results by 64 channels
// in exact f32, sixteen terms at a time through shared memory; a thread has 4 x 4 of them. Sums are in the order of the
// terms. Written to be correct on a GPU; it was not tuned on one.
#include "runtime/device.cuh"

constexpr uint32_t TILE = 64, TERMS = 16, THREADS = 256;

enum Sampling : uint32_t { SAME = 0, UPSAMPLE = 1, DOWNSAMPLE = 2 };

// `Problem` in cuda.rs.
struct Problem {
    Operand frames[3], weight, bias, y;
    uint64_t height, width, channels, out_channels;
    uint64_t rows, columns;  // of the result
    uint32_t kt, kh, kw;
    uint32_t sampling, accumulate, unused;
};

// Which of `extent` pixels tap `tap` of result `at` looks at; `extent` or more outside of the frame.
__device__ __forceinline__ uint64_t source(const Problem& p, uint64_t at, uint32_t tap, uint32_t taps) {
    if (p.sampling == DOWNSAMPLE) return 2 * at + tap;
    const uint64_t from = at + tap, before = p.sampling == UPSAMPLE ? 1 : taps / 2;
    if (from < before) return ~uint64_t(0);
    return p.sampling == UPSAMPLE ? (from - before) / 2 : from - before;
}

// Term `k` of one frame's sum for result `m`.
__device__ __forceinline__ float pixel(const Problem& p, const Operand& frame, uint64_t m, uint64_t k) {
    const uint32_t tap = k / p.channels;
    const uint64_t y = source(p, m / p.columns, tap / p.kw, p.kh), x = source(p, m % p.columns, tap % p.kw, p.kw);
    if (y >= p.height || x >= p.width) return 0.0f;
    return load(frame, (y * p.width + x) * p.channels + k % p.channels);
}

extern "C" __global__ void __launch_bounds__(THREADS) conv(Problem p) {
    __shared__ float a[TERMS][TILE], b[TERMS][TILE];
    const uint64_t results = p.rows * p.columns, across = (p.out_channels + TILE - 1) / TILE;
    const uint64_t row = blockIdx.x / across * TILE, column = blockIdx.x % across * TILE;
    const uint64_t plane = uint64_t(p.kh) * p.kw * p.channels;
    const uint32_t x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sums[4][4] = {};
    for (uint32_t t = 0; t < p.kt; t++) {
        const Operand frame = t == 0 ? p.frames[0] : t == 1 ? p.frames[1] : p.frames[2];
        if (!frame.present) continue;
        for (uint64_t first = 0; first < plane; first += TERMS) {
            for (uint32_t i = threadIdx.x; i < TERMS * TILE; i += THREADS) {
                // Neighbouring threads have neighbouring terms, which lie side by side in frames and weights.
                const uint32_t lane = i / TERMS;
                const uint64_t k = first + i % TERMS, m = row + lane, n = column + lane;
                a[i % TERMS][lane] = k < plane && m < results ? pixel(p, frame, m, k) : 0.0f;
                b[i % TERMS][lane] =
                    k < plane && n < p.out_channels ? load(p.weight, (n * p.kt + t) * plane + k) : 0.0f;
            }
            __syncthreads();
            for (uint32_t k = 0; k < TERMS; k++)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++)
                        sums[i][j] = fmaf(a[k][y * 4 + i], b[k][x + 16 * j], sums[i][j]);
            __syncthreads();
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const uint64_t m = row + y * 4 + i, n = column + x + 16 * j;
            if (m >= results || n >= p.out_channels) continue;
            float value = sums[i][j];
            if (p.accumulate) value += load(p.y, m * p.out_channels + n);
            if (p.bias.present) value += load(p.bias, n);
            store(p.y, m * p.out_channels + n, value);
        }
}
