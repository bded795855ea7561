// SIMD kernels beside their scalar twins: a float matrix product, Adler-32 and
// an upper-casing pass. Prints the results and whether the two agree.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wasm_simd128.h>

#define N 24
#define SIZE 4096
#define KERNEL __attribute__((noinline))

static float a[N * N], b[N * N], c[N * N], d[N * N];
static uint8_t text[SIZE], upper[SIZE];

KERNEL static void matmul_scalar(float *out, const float *x, const float *y) {
#pragma clang loop vectorize(disable)
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      float s = 0;
#pragma clang loop vectorize(disable)
      for (int k = 0; k < N; k++) s += x[i * N + k] * y[k * N + j];
      out[i * N + j] = s;
    }
}

KERNEL static v128_t row_block(const float *x, const float *y) {
  v128_t s = wasm_f32x4_const_splat(0);
  for (int k = 0; k < N; k++)
    s = wasm_f32x4_add(s, wasm_f32x4_mul(wasm_v128_load32_splat(x + k), wasm_v128_load(y + k * N)));
  return s;
}

KERNEL static void matmul_simd(float *out, const float *x, const float *y) {
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j += 4) wasm_v128_store(out + i * N + j, row_block(x + i * N, y + j));
}

KERNEL static uint32_t adler_scalar(const uint8_t *p, int n) {
  uint32_t s1 = 1, s2 = 0;
  for (int i = 0; i < n; i++) { s1 = (s1 + p[i]) % 65521; s2 = (s2 + s1) % 65521; }
  return s2 << 16 | s1;
}

KERNEL static uint32_t lanes_sum(v128_t v) {
  return wasm_i32x4_extract_lane(v, 0) + wasm_i32x4_extract_lane(v, 1) + wasm_i32x4_extract_lane(v, 2) +
         wasm_i32x4_extract_lane(v, 3);
}

KERNEL static uint32_t adler_simd(const uint8_t *p, int n) { // n is a multiple of 16
  const v128_t lo = wasm_i16x8_const(16, 15, 14, 13, 12, 11, 10, 9), hi = wasm_i16x8_const(8, 7, 6, 5, 4, 3, 2, 1);
  uint32_t s1 = 1, s2 = 0;
  for (int i = 0; i < n; i += 16) {
    v128_t v = wasm_v128_load(p + i);
    v128_t sum = wasm_u32x4_extadd_pairwise_u16x8(wasm_u16x8_extadd_pairwise_u8x16(v));
    v128_t weighted = wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_u16x8_extend_low_u8x16(v), lo),
                                     wasm_i32x4_dot_i16x8(wasm_u16x8_extend_high_u8x16(v), hi));
    s2 = (s2 + 16 * s1 + lanes_sum(weighted)) % 65521;
    s1 = (s1 + lanes_sum(sum)) % 65521;
  }
  return s2 << 16 | s1;
}

KERNEL static int upper_simd(uint8_t *out, const uint8_t *in, int n) {
  int changed = 0;
  for (int i = 0; i < n; i += 16) {
    v128_t v = wasm_v128_load(in + i);
    v128_t m = wasm_v128_and(wasm_u8x16_ge(v, wasm_u8x16_const_splat('a')), wasm_u8x16_le(v, wasm_u8x16_const_splat('z')));
    wasm_v128_store(out + i, wasm_v128_bitselect(wasm_v128_xor(v, wasm_u8x16_const_splat(32)), v, m));
    changed += __builtin_popcount(wasm_i8x16_bitmask(m));
  }
  return changed;
}

int main(void) {
  for (int i = 0; i < N * N; i++) { a[i] = (float)(i * 7 % 13) - 6; b[i] = (float)(i * 5 % 11) / 4; }
  matmul_scalar(c, a, b);
  matmul_simd(d, a, b);
  float trace = 0;
  for (int i = 0; i < N; i++) trace += d[i * N + i];
  printf("matmul %dx%d trace %.2f corner %.2f %s\n", N, N, trace, d[N * N - 1],
         memcmp(c, d, sizeof c) ? "DIFFER" : "agree");
  static const char words[] = "The quick brown fox jumps over the lazy dog. ";
  for (int i = 0; i < SIZE; i++) text[i] = words[i % (sizeof words - 1)];
  uint32_t s = adler_scalar(text, SIZE), v = adler_simd(text, SIZE);
  printf("adler %08x %08x %s\n", s, v, s == v ? "agree" : "DIFFER");
  int changed = upper_simd(upper, text, SIZE);
  printf("upper %d %.44s\n", changed, (char *)upper);
  return 0;
}
