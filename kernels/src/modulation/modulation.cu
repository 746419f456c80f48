// The modulation vectors: two orders of rows. Forward is one pass at memory speed; so is backward, whose pass also sums
// the table's gradient over the groups of each slot.
#include "runtime/map_rows.cuh"
#include "runtime/row_sums.cuh"

// y[s, g, :] = table[s, :] + projection[g, s, :]
extern "C" __global__ void modulation_forward(Operand table, Operand projection, Operand y, uint64_t slots,
                                              uint64_t groups, uint64_t width, uint32_t vectors) {
    map_rows({table, projection}, y, slots * groups, width, vectors, [&](size_t row, size_t (&start)[2]) {
        const size_t slot = row / groups, group = row - slot * groups;
        start[0] = slot * width;
        start[1] = (group * slots + slot) * width;
        return [](float (&a)[2]) { return a[0] + a[1]; };
    });
}

// dprojection[g, s, :] = dy[s, g, :], dtable[s, :] += sum over g of dy[s, g, :]. The groups of `shape` are the slots.
extern "C" __global__ void modulation_backward(Operand dy, Operand dprojection, Operand dtable, RowSums shape) {
    // Row `slot * rows_per_group + g` of dy goes to row `g * slots + slot`.
    const auto place = [&](size_t slot, size_t row) {
        return (row - slot * shape.rows_per_group) * shape.groups + slot;
    };
    row_sums<1>(shape, {{dy}, {}, dprojection, dtable}, place, [](float (&a)[1], float, float& result) {
        result = a[0];
        return a[0];
    });
}
