// The gated residual connection. Forward is one pass at memory speed; so is backward, whose pass also sums the gate's
// gradient over the rows of each group.
#include "runtime/map_rows.cuh"
#include "runtime/row_sums.cuh"

// y = x + gate[g] h; without a gate y = x + h
extern "C" __global__ void gated_add_forward(Operand x, Operand h, Operand gate, Operand y, uint64_t rows,
                                             uint64_t width, uint64_t rows_per_group, uint32_t vectors) {
    if (gate.present)
        map_rows({x, h, gate}, y, rows, width, vectors, [&](size_t row, size_t (&start)[3]) {
            start[0] = start[1] = row * width;
            start[2] = row / rows_per_group * width;
            return [](float (&a)[3]) { return fmaf(a[2], a[1], a[0]); };
        });
    else
        map_rows({x, h}, y, rows, width, vectors, [&](size_t row, size_t (&start)[2]) {
            start[0] = start[1] = row * width;
            return [](float (&a)[2]) { return a[0] + a[1]; };
        });
}

// dh = gate[g] dy; without a gate dh = dy
extern "C" __global__ void gated_add_backward(Operand gate, Operand dy, Operand dh, uint64_t rows, uint64_t width,
                                              uint64_t rows_per_group, uint32_t vectors) {
    if (gate.present)
        map_rows({gate, dy}, dh, rows, width, vectors, [&](size_t row, size_t (&start)[2]) {
            start[0] = row / rows_per_group * width;
            start[1] = row * width;
            return [](float (&a)[2]) { return a[0] * a[1]; };
        });
    else
        map_rows({dy}, dh, rows, width, vectors, [&](size_t row, size_t (&start)[1]) {
            start[0] = row * width;
            return [](float (&a)[1]) { return a[0]; };
        });
}

// The same, and dgate[g] += sum over the rows of g of dy h
extern "C" __global__ void gated_add_backward_gate(Operand h, Operand gate, Operand dy, Operand dh, Operand dgate,
                                                   RowSums shape) {
    row_sums<2>(
        shape, {{dy, h}, gate, dh, dgate}, [](size_t, size_t row) { return row; },
        [](float (&a)[2], float factor, float& result) {
            result = factor * a[0];
            return a[0] * a[1];
        });
}
