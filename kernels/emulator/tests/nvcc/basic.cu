#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
extern "C" __global__ void saxpy(int n, float a, const float* x, float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
extern "C" __global__ void reduce_sum(int n, const float* x, float* out) {
  __shared__ float part[32];
  float s = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i];
  for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = s;
  __syncthreads();
  if (threadIdx.x < 32) {
    s = threadIdx.x < (blockDim.x >> 5) ? part[threadIdx.x] : 0.f;
    for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
    if (threadIdx.x == 0) atomicAdd(out, s);
  }
}
// 128x128 tile, 8x8 per thread, 256 threads, k step 8
extern "C" __global__ __launch_bounds__(256) void sgemm(int M, int N, int K, const float* A, const float* B, float* C) {
  __shared__ __align__(16) float As[8][128 + 4];
  __shared__ __align__(16) float Bs[8][128];
  int tid = threadIdx.x, tx = tid & 15, ty = tid >> 4;
  int row0 = blockIdx.y * 128, col0 = blockIdx.x * 128;
  float acc[8][8] = {};
  int ar = tid >> 1, ac = (tid & 1) * 4, br = tid >> 5, bc = (tid & 31) * 4;
  for (int k0 = 0; k0 < K; k0 += 8) {
    float4 a = *(const float4*)&A[(size_t)(row0 + ar) * K + k0 + ac];
    float4 b = *(const float4*)&B[(size_t)(k0 + br) * N + col0 + bc];
    As[ac + 0][ar] = a.x; As[ac + 1][ar] = a.y; As[ac + 2][ar] = a.z; As[ac + 3][ar] = a.w;
    *(float4*)&Bs[br][bc] = b;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 8; k++) {
      float x[8], y[8];
      *(float4*)&x[0] = *(float4*)&As[k][ty * 4]; *(float4*)&x[4] = *(float4*)&As[k][64 + ty * 4];
      *(float4*)&y[0] = *(float4*)&Bs[k][tx * 4]; *(float4*)&y[4] = *(float4*)&Bs[k][64 + tx * 4];
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) acc[i][j] = fmaf(x[i], y[j], acc[i][j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    int r = row0 + (i < 4 ? ty * 4 + i : 64 + ty * 4 + i - 4);
    *(float4*)&C[(size_t)r * N + col0 + tx * 4] = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
    *(float4*)&C[(size_t)r * N + col0 + 64 + tx * 4] = make_float4(acc[i][4], acc[i][5], acc[i][6], acc[i][7]);
  }
}
extern "C" __global__ void softmax(int n, const float* x, float* y) {
  __shared__ float part[32];
  int row = blockIdx.x;
  x += (size_t)row * n; y += (size_t)row * n;
  float m = -INFINITY;
  for (int i = threadIdx.x; i < n; i += blockDim.x) m = fmaxf(m, x[i]);
  for (int o = 16; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = m;
  __syncthreads();
  m = part[0];
  for (int i = 1; i < blockDim.x / 32; i++) m = fmaxf(m, part[i]);
  __syncthreads();
  float s = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) s += expf(x[i] - m);
  for (int o = 16; o; o >>= 1) s += __shfl_down_sync(~0u, s, o);
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = s;
  __syncthreads();
  s = 0;
  for (int i = 0; i < blockDim.x / 32; i++) s += part[i];
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = expf(x[i] - m) / s;
}
extern "C" __global__ void layernorm(int n, float eps, const __nv_bfloat16* x, const float* g, const float* b, __nv_bfloat16* y) {
  int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  const __nv_bfloat162* p = (const __nv_bfloat162*)(x + (size_t)row * n);
  float s = 0, q = 0;
  for (int i = lane; i < n / 2; i += 32) { float2 v = __bfloat1622float2(p[i]); s += v.x + v.y; q += v.x * v.x + v.y * v.y; }
  for (int o = 16; o; o >>= 1) { s += __shfl_xor_sync(~0u, s, o); q += __shfl_xor_sync(~0u, q, o); }
  float mu = s / n, r = rsqrtf(q / n - mu * mu + eps);
  __nv_bfloat162* o = (__nv_bfloat162*)(y + (size_t)row * n);
  for (int i = lane; i < n / 2; i += 32) {
    float2 v = __bfloat1622float2(p[i]);
    o[i] = __floats2bfloat162_rn((v.x - mu) * r * g[2 * i] + b[2 * i], (v.y - mu) * r * g[2 * i + 1] + b[2 * i + 1]);
  }
}
__device__ __noinline__ float polynomial(float x, int n) { float s = 0; for (int i = 0; i < n; i++) s = s * x + i; return s; }
extern "C" __global__ void misc(int n, float* f, double* d, long long* l, unsigned* u, __half* h) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float x = f[i];
  f[i] = sinf(x * 1000.f) + cosf(x) + tanhf(x) + logf(fabsf(x) + 1.f) + powf(fabsf(x), 1.5f) + polynomial(x, (i & 3) + 1);
  d[i] = sqrt(fabs(d[i])) / (1.0 + d[i] * d[i]) + exp(-d[i] * d[i]);
  l[i] = l[i] / (i - 7 ? i - 7 : 3) + l[i] % 1000003 + (long long)floor(d[i] * 100);
  u[i] = __popc(u[i]) + __clz(u[i]) + __brev(u[i]) + (u[i] / 7) * (u[i] % 13) + __byte_perm(u[i], i, 0x5140) + __funnelshift_l(u[i], i, i & 31);
  h[i] = __hfma(h[i], h[i], __float2half(0.5f));
}
extern "C" __global__ void histogram(int n, const unsigned* x, unsigned* out) {
  __shared__ unsigned bins[64];
  if (threadIdx.x < 64) bins[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&bins[x[i] & 63], 1u);
  __syncthreads();
  if (threadIdx.x < 64) atomicAdd(&out[threadIdx.x], bins[threadIdx.x]);
}
