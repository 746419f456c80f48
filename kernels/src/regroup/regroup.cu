// The shortcuts of Wan 2.2's autoencoder: a thread an element of the result.
#include "runtime/device.cuh"

// `Problem` in cuda.rs.
struct Problem {
    Operand frames[2], y;
    uint64_t height, width, channels, out_channels, step_frames, side, at;
};

// y[r, s, n] += mean over a group of channels, frames, rows and columns.
extern "C" __global__ void regroup_average(Problem p) {
    const uint64_t step = p.step_frames * p.side * p.side, group = p.channels * step / p.out_channels;
    for (size_t i = thread_index(); i < p.height * p.width * p.out_channels; i += thread_count()) {
        const uint64_t n = i % p.out_channels, s = i / p.out_channels % p.width, r = i / p.out_channels / p.width;
        float sum = 0.0f;
        for (uint64_t flat = n * group; flat < (n + 1) * group; flat++) {
            const uint64_t part = flat % step, c = flat / step;
            const uint64_t dt = part / (p.side * p.side), dy = part / p.side % p.side, dx = part % p.side;
            const Operand frame = dt == 0 ? p.frames[0] : p.frames[1];
            const uint64_t pixel = (r * p.side + dy) * p.width * p.side + s * p.side + dx;
            sum += frame.present ? load(frame, pixel * p.channels + c) : 0.0f;
        }
        store(p.y, i, load(p.y, i) + sum / float(group));
    }
}

// y[r side + i, s side + j, n] += frame[r, s, ..]
extern "C" __global__ void regroup_duplicate(Problem p) {
    const uint64_t step = p.step_frames * p.side * p.side, copies = p.out_channels * step / p.channels;
    const uint64_t columns = p.width * p.side;
    for (size_t i = thread_index(); i < p.height * p.side * columns * p.out_channels; i += thread_count()) {
        const uint64_t n = i % p.out_channels, s = i / p.out_channels % columns, r = i / p.out_channels / columns;
        const uint64_t flat = ((n * p.step_frames + p.at) * p.side + r % p.side) * p.side + s % p.side;
        const uint64_t pixel = r / p.side * p.width + s / p.side;
        store(p.y, i, load(p.y, i) + load(p.frames[0], pixel * p.channels + flat / copies));
    }
}
