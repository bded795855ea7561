// Two functions of which one costs ten times as much a call as the other, called in every order and by two callers; one
// of the callers makes each call three times as costly. Prints how many iterations each function did for each caller: the
// time of an iteration is the same everywhere, so that these are the true shares.
// usage: ten [TIMES]     does TIMES times as many rounds as by default
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CALL __attribute__((noinline))
enum { HEAVY = 2000, LIGHT = 200, ROUNDS = 32000 };

// Each iteration needs the result of the one before it.
#define CHAIN(x, n) for (uint32_t i = (n); i > 0; i--) x = (x ^ x >> 29) * 0x9e3779b97f4a7c15

CALL static uint64_t heavy(uint64_t x, uint32_t factor) {
  CHAIN(x, HEAVY * factor);
  return x;
}

CALL static uint64_t light(uint64_t x, uint32_t factor) {
  CHAIN(x, LIGHT * factor);
  return x;
}

// Four calls of each, in which each of the pairs heavy heavy, heavy light, light heavy and light light occurs.
static uint64_t pairs(uint64_t x, uint32_t factor) {
  x = heavy(x, factor);
  x = heavy(x, factor);
  x = light(x, factor);
  x = heavy(x, factor);
  x = light(x, factor);
  x = light(x, factor);
  x = light(x, factor);
  return heavy(x, factor);
}

CALL static uint64_t from_left(uint64_t x, uint32_t factor) {
  x = pairs(x, factor);
  return x + 1;
}

CALL static uint64_t from_right(uint64_t x, uint32_t factor) {
  x = pairs(x, factor);
  return x + 2;
}

// Constants that clang must not see: it would make a heavy and a light for each of them.
static volatile uint32_t left_factor = 1, right_factor = 3;

int main(int argc, char **argv) {
  uint64_t rounds = ROUNDS * (uint64_t)(argc > 1 ? atoi(argv[1]) : 1), x = 1;
  for (uint64_t round = 0; round < rounds; round++) {
    x = from_left(x, left_factor);
    x = from_right(x, right_factor);
  }
  const uint64_t calls = 4; // of each function in `pairs`
  printf("heavy from_left %llu\n", (unsigned long long)(rounds * calls * HEAVY * left_factor));
  printf("heavy from_right %llu\n", (unsigned long long)(rounds * calls * HEAVY * right_factor));
  printf("light from_left %llu\n", (unsigned long long)(rounds * calls * LIGHT * left_factor));
  printf("light from_right %llu\n", (unsigned long long)(rounds * calls * LIGHT * right_factor));
  fprintf(stderr, "%016llx\n", (unsigned long long)x);
}
