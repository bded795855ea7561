// Sleeps for half of its time, a few milliseconds at once, and computes for the other half.
// usage: sleeper [TIMES]     does both TIMES times as often as by default
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CALL __attribute__((noinline))

CALL static void rest(int milliseconds) {
  struct timespec time = {.tv_nsec = milliseconds * 1000000L};
  nanosleep(&time, NULL);
}

// About as long as `rest(3)`.
CALL static uint64_t work(uint64_t x) {
  for (int i = 0; i < 1700000; i++) x = (x ^ x >> 29) * 0x9e3779b97f4a7c15;
  return x;
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  uint64_t x = 1;
  for (int i = 0; i < 24 * times; i++) {
    x = work(x);
    rest(2 + i % 3);
  }
  printf("sleeper %016llx\n", (unsigned long long)x);
}
