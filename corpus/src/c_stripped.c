// SHA-256 of a generated text, then a table of sort routines called through
// pointers; the sorted results are hashed too. Built without any names.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t K[64], H0[8];

static uint32_t frac_root(unsigned p, int cube) { // first 32 bits of the fraction of p^(1/2) or p^(1/3)
  __uint128_t lo = 0, hi = (__uint128_t)32 << 32;
  while (hi - lo > 1) {
    __uint128_t m = (lo + hi) / 2;
    int less = cube ? m * m * m <= (__uint128_t)p << 96
                    : m * m <= (__uint128_t)p << 64;
    if (less) lo = m; else hi = m;
  }
  return (uint32_t)lo;
}

static void constants(void) {
  int n = 0;
  for (unsigned p = 2; n < 64; p++) {
    int prime = 1;
    for (unsigned d = 2; d * d <= p; d++) prime &= p % d != 0;
    if (!prime) continue;
    K[n] = frac_root(p, 1);
    if (n < 8) H0[n] = frac_root(p, 0);
    n++;
  }
}

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void block(uint32_t h[8], const uint8_t *p) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
           (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
  memcpy(s, h, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t e = s[4], a = s[0];
    uint32_t t1 = s[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
    uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}

static void sha256(const void *data, size_t n, char out[65]) {
  uint32_t h[8];
  uint8_t tail[128] = {0};
  const uint8_t *p = data;
  size_t left = n;
  memcpy(h, H0, sizeof h);
  for (; left >= 64; p += 64, left -= 64) block(h, p);
  memcpy(tail, p, left);
  tail[left] = 0x80;
  size_t len = left < 56 ? 64 : 128;
  for (int i = 0; i < 8; i++) tail[len - 1 - i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
  block(h, tail);
  if (len == 128) block(h, tail + 64);
  for (int i = 0; i < 8; i++) sprintf(out + 8 * i, "%08x", h[i]);
}

static void insertion(uint32_t *a, int n) {
  for (int i = 1; i < n; i++) {
    uint32_t x = a[i];
    int j = i;
    for (; j > 0 && a[j - 1] > x; j--) a[j] = a[j - 1];
    a[j] = x;
  }
}
static void quick(uint32_t *a, int n) {
  if (n < 12) { insertion(a, n); return; }
  uint32_t p = a[n / 2];
  int i = 0, j = n - 1;
  while (i <= j) {
    while (a[i] < p) i++;
    while (a[j] > p) j--;
    if (i <= j) { uint32_t t = a[i]; a[i++] = a[j]; a[j--] = t; }
  }
  quick(a, j + 1);
  quick(a + i, n - i);
}
static void sift(uint32_t *a, int i, int n) {
  for (int c; (c = 2 * i + 1) < n; i = c) {
    if (c + 1 < n && a[c + 1] > a[c]) c++;
    if (a[i] >= a[c]) return;
    uint32_t t = a[i]; a[i] = a[c]; a[c] = t;
  }
}
static void heap(uint32_t *a, int n) {
  for (int i = n / 2; i-- > 0;) sift(a, i, n);
  for (int m = n; m-- > 1;) { uint32_t t = a[0]; a[0] = a[m]; a[m] = t; sift(a, 0, m); }
}

static void (*const sorts[])(uint32_t *, int) = {insertion, quick, heap};
static uint32_t data[3000];

int main(void) {
  char hex[65];
  constants();
  sha256("abc", 3, hex);
  puts(hex);
  for (unsigned k = 0; k < sizeof sorts / sizeof *sorts; k++) {
    uint32_t s = 1;
    int n = k ? 3000 : 300;
    for (int i = 0; i < n; i++) data[i] = s = s * 1664525u + 1013904223u;
    sorts[k](data, n);
    int ok = 1;
    for (int i = 1; i < n; i++) ok &= data[i - 1] <= data[i];
    sha256(data, n * sizeof *data, hex);
    printf("%u %d %s %s\n", k, n, ok ? "sorted" : "NOT SORTED", hex);
  }
  return 0;
}
