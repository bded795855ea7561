// Two functions that write many small pieces to standard output, each followed by a flush, and compute in between.
// usage: writer [TIMES]     writes TIMES times as much as by default
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CALL __attribute__((noinline))

CALL static uint64_t mix(uint64_t x, int rounds) {
  while (rounds--) x = (x ^ x >> 29) * 0x9e3779b97f4a7c15;
  return x;
}

// One flush a row.
CALL static uint64_t write_rows(uint64_t x, int rows) {
  for (int row = 0; row < rows; row++) {
    x = mix(x, 600);
    printf("row %d: %016llx %u\n", row, (unsigned long long)x, (unsigned)(x % 1000));
    fflush(stdout);
  }
  return x;
}

// One flush a word: shorter pieces, less computing.
CALL static uint64_t write_words(uint64_t x, int words) {
  static const char *const all[] = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"};
  for (int word = 0; word < words; word++) {
    x = mix(x, 150);
    fputs(all[x >> 61], stdout);
    putchar(word % 12 == 11 ? '\n' : ' ');
    fflush(stdout);
  }
  putchar('\n');
  return x;
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  uint64_t x = 1;
  for (int i = 0; i < 100 * times; i++) {
    x = write_rows(x, 120);
    x = write_words(x, 144);
  }
  printf("writer %016llx\n", (unsigned long long)x);
}
