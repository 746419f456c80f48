// Arithmetic between operands of one shape, one pass at memory speed. The operations are the CPU's, so the bits are too.
#include "runtime/map_rows.cuh"

// out = alpha x + beta y; without y: out = alpha x
extern "C" __global__ void elementwise_combine(Operand x, Operand y, Operand out, float alpha, float beta, uint64_t n,
                                   uint32_t vectors) {
    if (y.present)
        map({x, y}, out, n, vectors, [=](float (&a)[2]) { return fmaf(alpha, a[0], beta * a[1]); });
    else
        map({x}, out, n, vectors, [=](float (&a)[1]) { return alpha * a[0]; });
}

// y += alpha x
extern "C" __global__ void elementwise_accumulate(Operand x, Operand y, float alpha, uint64_t n, uint32_t vectors) {
    map({x, y}, y, n, vectors, [=](float (&a)[2]) { return fmaf(alpha, a[0], a[1]); });
}

// out = a b
extern "C" __global__ void elementwise_multiply(Operand a, Operand b, Operand out, uint64_t n, uint32_t vectors) {
    map({a, b}, out, n, vectors, [](float (&v)[2]) { return v[0] * v[1]; });
}

// out[r, :] = factors[r] x[r, :] + y[r, :]; without y nothing is added
extern "C" __global__ void elementwise_scale_rows(Operand x, Operand factors, Operand y, Operand out, uint64_t rows, uint64_t width,
                                      uint32_t vectors) {
    if (y.present)
        map_rows({x, y}, out, rows, width, vectors, [&](size_t row, size_t (&start)[2]) {
            const float factor = load(factors, row);
            start[0] = start[1] = row * width;
            return [factor](float (&a)[2]) { return fmaf(factor, a[0], a[1]); };
        });
    else
        map_rows({x}, out, rows, width, vectors, [&](size_t row, size_t (&start)[1]) {
            const float factor = load(factors, row);
            start[0] = row * width;
            return [factor](float (&a)[1]) { return factor * a[0]; };
        });
}
