#include <cuda_bf16.h>
#include <cstdint>
typedef __nv_bfloat16 bf16;
__device__ __forceinline__ uint32_t smem(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void cp16(uint32_t d, const void* s) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(d), "l"(s)); }
__device__ __forceinline__ void ldm4(uint32_t (&r)[4], uint32_t a) { asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a)); }
__device__ __forceinline__ void ldm4t(uint32_t (&r)[4], uint32_t a) { asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a)); }
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// C[M,N] = A[M,K] B[N,K]^T, tile 128x128x32, 3 stages, 8 warps as 2x4 (64x32 each)
constexpr int BM = 128, BN = 128, BK = 32, ST = 3;
__device__ __forceinline__ int swz(int row, int chunk) { return row * BK + ((chunk ^ ((row >> 1) & 3)) * 8); }
extern "C" __global__ __launch_bounds__(256) void hgemm(int M, int N, int K, const bf16* A, const bf16* B, bf16* C) {
  extern __shared__ __align__(128) bf16 sm[];
  bf16* As = sm; bf16* Bs = sm + ST * BM * BK;
  int tid = threadIdx.x, lane = tid & 31, w = tid >> 5, wm = w >> 2, wn = w & 3;
  const bf16* Ab = A + (size_t)blockIdx.y * BM * K; const bf16* Bb = B + (size_t)blockIdx.x * BN * K;
  auto load = [&](int st, int k0) {
#pragma unroll
    for (int i = 0; i < 2; i++) { int c = tid + i * 256, r = c >> 2, h = c & 3;
      cp16(smem(As + st * BM * BK + swz(r, h)), Ab + (size_t)r * K + k0 + h * 8);
      cp16(smem(Bs + st * BN * BK + swz(r, h)), Bb + (size_t)r * K + k0 + h * 8); }
  };
  float acc[4][4][4] = {};
  int n = K / BK;
  for (int s = 0; s < ST - 1; s++) { if (s < n) load(s, s * BK); asm volatile("cp.async.commit_group;"); }
  for (int t = 0; t < n; t++) {
#ifndef NO_WAIT
    asm volatile("cp.async.wait_group %0;" ::"n"(ST - 2));
#endif
#ifndef NO_SYNC
    __syncthreads();
#endif
    if (t + ST - 1 < n) load((t + ST - 1) % ST, (t + ST - 1) * BK);
    asm volatile("cp.async.commit_group;");
    const bf16* a = As + (t % ST) * BM * BK; const bf16* b = Bs + (t % ST) * BN * BK;
#pragma unroll
    for (int kk = 0; kk < 2; kk++) {
      uint32_t af[4][4], bfr[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) ldm4(af[i], smem(a + swz(wm * 64 + i * 16 + (lane & 15), kk * 2 + (lane >> 4))));
#pragma unroll
      for (int j = 0; j < 2; j++) ldm4(bfr[j], smem(b + swz(wn * 32 + j * 16 + (lane & 7) + ((lane >> 4) << 3), kk * 2 + ((lane >> 3) & 1))));
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma(acc[i][j], af[i], bfr[j >> 1][(j & 1) * 2], bfr[j >> 1][(j & 1) * 2 + 1]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        size_t r = blockIdx.y * BM + wm * 64 + i * 16 + (lane >> 2) + h * 8, c = blockIdx.x * BN + wn * 32 + j * 8 + (lane & 3) * 2;
        *(__nv_bfloat162*)&C[r * N + c] = __floats2bfloat162_rn(acc[i][j][h * 2], acc[i][j][h * 2 + 1]);
      }
}
// flash attention forward: D=64, 64 queries a block (4 warps x 16), 64 keys a step
extern "C" __global__ __launch_bounds__(128) void flash(int S, float scale, const bf16* Q, const bf16* Kp, const bf16* V, bf16* O) {
  constexpr int D = 64, T = 64;
  __shared__ __align__(16) bf16 sq[T * D], sk[T * D], sv[T * D];
  int tid = threadIdx.x, lane = tid & 31, w = tid >> 5;
  size_t base = (size_t)blockIdx.y * S * D; Q += base; Kp += base; V += base; O += base;
  int q0 = blockIdx.x * T;
  auto sw = [](int r, int c) { return r * D + ((c ^ (r & 7)) * 8); };
  auto load = [&](bf16* dst, const bf16* src, int r0) {
#pragma unroll
    for (int i = 0; i < 4; i++) { int c = tid + i * 128, r = c >> 3, h = c & 7;
      uint32_t d = smem(dst + sw(r, h)); int ok = r0 + r < S ? 16 : 0;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(d), "l"(src + (size_t)(ok ? r0 + r : 0) * D + h * 8), "r"(ok)); }
  };
  load(sq, Q, q0); asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_all;"); __syncthreads();
  uint32_t qf[4][4];
  for (int k = 0; k < 4; k++) ldm4(qf[k], smem(sq + sw(w * 16 + (lane & 15), k * 2 + (lane >> 4))));
  float o[8][4] = {}, m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
  for (int k0 = 0; k0 < S; k0 += T) {
    load(sk, Kp, k0); load(sv, V, k0); asm volatile("cp.async.commit_group;"); asm volatile("cp.async.wait_all;"); __syncthreads();
    float s[8][4] = {};
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
      for (int j = 0; j < 4; j++) { uint32_t b[4]; ldm4(b, smem(sk + sw(j * 16 + (lane & 7) + ((lane >> 4) << 3), k * 2 + ((lane >> 3) & 1))));
        mma(s[2 * j], qf[k], b[0], b[1]); mma(s[2 * j + 1], qf[k], b[2], b[3]); }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float mx = m[h];
#pragma unroll
      for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) { int c = k0 + j * 8 + (lane & 3) * 2 + e; float& v = s[j][h * 2 + e]; v = c < S ? v * scale : -INFINITY; mx = fmaxf(mx, v); }
      mx = fmaxf(mx, __shfl_xor_sync(~0u, mx, 1)); mx = fmaxf(mx, __shfl_xor_sync(~0u, mx, 2));
      float f = exp2f(m[h] - mx), sum = 0; m[h] = mx;
#pragma unroll
      for (int j = 0; j < 8; j++) { for (int e = 0; e < 2; e++) { float& v = s[j][h * 2 + e]; v = exp2f(v - mx); sum += v; } o[j][h * 2] *= f; o[j][h * 2 + 1] *= f; }
      sum += __shfl_xor_sync(~0u, sum, 1); sum += __shfl_xor_sync(~0u, sum, 2);
      l[h] = l[h] * f + sum;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
      uint32_t a[4];
      for (int i = 0; i < 4; i++) { __nv_bfloat162 p = __floats2bfloat162_rn(s[2 * k + (i >> 1)][(i & 1) * 2], s[2 * k + (i >> 1)][(i & 1) * 2 + 1]); a[i] = *(uint32_t*)&p; }
#pragma unroll
      for (int j = 0; j < 4; j++) { uint32_t b[4]; ldm4t(b, smem(sv + sw(k * 16 + (lane & 15), j * 2 + (lane >> 4))));
        mma(o[2 * j], a, b[0], b[1]); mma(o[2 * j + 1], a, b[2], b[3]); }
    }
    __syncthreads();
  }
#pragma unroll
  for (int h = 0; h < 2; h++) { int r = q0 + w * 16 + (lane >> 2) + h * 8; float inv = 1.f / l[h];
    if (r < S) for (int j = 0; j < 8; j++) *(__nv_bfloat162*)&O[(size_t)r * D + j * 8 + (lane & 3) * 2] = __floats2bfloat162_rn(o[j][h * 2] * inv, o[j][h * 2 + 1] * inv); }
}
