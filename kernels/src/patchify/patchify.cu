// Video to tokens and back, a permutation. Each direction writes in order and gathers from its input; a block reads all
// of the elements that share a sector with those it needs, so that they come from memory once and from L1 after that:
// tokens have patches side by side, and lines of pixels the same patches. Through shared memory both sides would be in
// order; a step moves one latent either way, far less than a block's activations, which does not pay for the code.
#include "runtime/device.cuh"

// `Grid` in mod.rs.
struct Video {
    uint64_t batch, channels, frames, height, width;
    uint64_t pt, ph, pw;

    __device__ __forceinline__ uint64_t patch_len() const { return channels * pt * ph * pw; }
};

// Distances in a token between neighbouring channels, and between neighbouring frames, rows and columns of its patch.
struct Strides {
    size_t channel, t, h, w;

    __device__ __forceinline__ Strides(const Video& v, uint32_t channel_last) {
        w = channel_last ? v.channels : 1;
        h = w * v.pw;
        t = h * v.ph;
        channel = channel_last ? 1 : t * v.pt;
    }
};

// Consecutive tokens of a block: their pixels fill whole sectors of a line.
constexpr uint64_t TOKENS = 16;

// tokens[b, (f, h, w), (c, pt, ph, pw)] = video[b, c, (f, pt), (h, ph), (w, pw)]. Threads have elements of a token, and
// go from token to token.
extern "C" __global__ void patchify(Operand video, Operand tokens, Video v, uint32_t channel_last) {
    const Strides strides(v, channel_last);
    const size_t rows = v.height / v.ph, columns = v.width / v.pw, frames = v.frames / v.pt;
    const size_t count = v.batch * frames * rows * columns, len = v.patch_len();
    for (size_t first = blockIdx.x * TOKENS; first < count; first += gridDim.x * TOKENS) {
        const size_t last = count - first < TOKENS ? count : first + TOKENS;
        for (size_t e = threadIdx.x; e < len; e += blockDim.x) {
            const size_t c = e / strides.channel % v.channels, dt = e / strides.t % v.pt;
            const size_t dh = e / strides.h % v.ph, dw = e / strides.w % v.pw;
            // Counted on, not divided for every token.
            size_t w = first % columns, h = first / columns % rows, f = first / (columns * rows) % frames;
            size_t b = first / (columns * rows * frames);
            for (size_t token = first; token < last; token++) {
                const size_t line = ((b * v.channels + c) * v.frames + f * v.pt + dt) * v.height + h * v.ph + dh;
                store(tokens, token * len + e, load(video, line * v.width + w * v.pw + dw));
                if (++w < columns) continue;
                w = 0;
                if (++h < rows) continue;
                h = 0;
                if (++f < frames) continue;
                f = 0, b++;
            }
        }
    }
}

// The inverse. Threads along x have pixels of a line, threads along y channels; a block goes through all lines of a row
// of patches.
extern "C" __global__ void unpatchify(Operand tokens, Operand video, Video v, uint32_t channel_last) {
    const Strides strides(v, channel_last);
    const size_t rows = v.height / v.ph, columns = v.width / v.pw, frames = v.frames / v.pt, len = v.patch_len();
    for (size_t strip = blockIdx.x; strip < v.batch * frames * rows; strip += gridDim.x) {
        const size_t h = strip % rows, f = strip / rows % frames, b = strip / (rows * frames);
        for (size_t x = size_t(blockIdx.y) * blockDim.x + threadIdx.x; x < v.width; x += size_t(gridDim.y) * blockDim.x) {
            const size_t w = x / v.pw, from = (strip * columns + w) * len + (x - w * v.pw) * strides.w;
#pragma unroll 1
            for (size_t c = threadIdx.y; c < v.channels; c += blockDim.y)
#pragma unroll 1
                for (size_t dt = 0; dt < v.pt; dt++)
#pragma unroll 2
                    for (size_t dh = 0; dh < v.ph; dh++) {
                        const size_t line = ((b * v.channels + c) * v.frames + f * v.pt + dt) * v.height + h * v.ph + dh;
                        const size_t within = c * strides.channel + dt * strides.t + dh * strides.h;
                        store(video, line * v.width + x, load(tokens, from + within));
                    }
        }
    }
}
