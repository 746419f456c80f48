// Sums down the columns of rows that a block reads anyway (gradients of weights and biases): kept in registers from
// row to row, then added over the block's teams in order. A block takes consecutive rows of one group; where a group
// has more blocks than one, each writes its own row of partial sums, which `column_sum` of reduce.cu adds up.
#pragma once
#include "runtime/rows.cuh"

template <int M>
struct ColumnSums {
    Operand out[M];
    size_t base;  // element of the outputs at which this block's sums begin
    uint32_t add; // to what is there (an accumulator), else it is written (partial sums)
    float kept[M][KEPT][4];

    // `block`: which row of the outputs, `[blocks, width]`, is this block's.
    __device__ ColumnSums(const Operand (&outputs)[M], size_t block, uint32_t width, uint32_t add)
        : base(block * width), add(add) {
#pragma unroll
        for (int m = 0; m < M; m++) {
            // The type is known here, which spares the paths for the other one.
            out[m] = {outputs[m].address, F32, outputs[m].present};
#pragma unroll
            for (int k = 0; k < KEPT; k++)
#pragma unroll
                for (int c = 0; c < 4; c++) kept[m][k][c] = 0.0f;
        }
    }

    // `y[at + j] = f(a, terms)` for each element of the thread in a row, and `terms[m]` is added to sum `m` of column
    // `j`. `again`: the block had rows before this one. Slots that are not kept add to memory, which is safe since a
    // row with such slots has the whole block for a team: a column is always the same thread's.
    template <int N, class S, class F>
    __device__ __forceinline__ void map(Rows<N>& rows, const S& s, const Operand& y, size_t at, uint32_t again, F f) {
        rows.slots(s, [&](uint32_t k, bool is_kept, float (&v)[N][4]) {
            float result[4], terms[M][1][4];
#pragma unroll
            for (int c = 0; c < 4; c++) {
                float a[N], of_element[M];
#pragma unroll
                for (int n = 0; n < N; n++) a[n] = v[n][c];
                result[c] = f(a, of_element);
#pragma unroll
                for (int m = 0; m < M; m++) terms[m][0][c] = s.has(k, c) ? of_element[m] : 0.0f;
            }
            store(y, at, s, k, result);
#pragma unroll
            for (int m = 0; m < M; m++) {
                if (is_kept) {
#pragma unroll
                    for (int c = 0; c < 4; c++) kept[m][k][c] += terms[m][0][c];
                } else if (out[m].present) {
                    put(m, s, k, terms[m], add | again);
                }
            }
        });
    }

    // Adds over the block's teams and writes. All threads of the block call it; `shared` has room for a row of each
    // team, and for nothing where there is one team.
    template <class S>
    __device__ __forceinline__ void finish(const Team& team, const S& s, float* shared) {
#pragma unroll
        for (int m = 0; m < M; m++) {
            if (!out[m].present) continue;
            if (team.count == 1) {
                put(m, s, 0, kept[m], add);
                continue;
            }
            float* own = shared + team.number * s.width;
#pragma unroll
            for (int k = 0; k < KEPT; k++) {
                if constexpr (S::vectors) {
                    // At once: one by one, neighbours four elements apart would meet in the same banks.
                    if (s.has(k, 0)) store_shared(own + s.at(k, 0), kept[m][k]);
                } else {
#pragma unroll
                    for (int c = 0; c < 4; c++)
                        if (s.has(k, c)) own[s.at(k, c)] = kept[m][k][c];
                }
            }
            __syncthreads();
            for (uint32_t j = threadIdx.x; j < s.width; j += blockDim.x) {
                float sum = shared[j];
                for (uint32_t t = 1; t < team.count; t++) sum += shared[t * s.width + j];
                float* to = static_cast<float*>(out[m].address) + base + j;
                *to = add ? *to + sum : sum;
            }
            // The next sums go to the same place.
            if (m + 1 < M) __syncthreads();
        }
    }

  private:
    // Four neighbours at a multiple of 16 bytes; said in PTX, since nvcc takes a float4 apart.
    __device__ static __forceinline__ void store_shared(float* to, const float (&v)[4]) {
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};"
                     :: "r"(uint32_t(__cvta_generic_to_shared(to))), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3])
                     : "memory");
    }

    // Writes slots `first ..` of sum `m`, to what is there where `over`.
    template <int N, class S>
    __device__ __forceinline__ void put(int m, const S& s, uint32_t first, const float (&v)[N][4], uint32_t over) {
        float sum[N][4];
        load(Operand{out[m].address, F32, over}, base, s, first, sum);
#pragma unroll
        for (int k = 0; k < N; k++) {
#pragma unroll
            for (int c = 0; c < 4; c++) sum[k][c] += v[k][c];
            store(out[m], base, s, first + k, sum[k]);
        }
    }
};
