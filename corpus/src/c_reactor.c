// A reactor: no main. The host calls _initialize once, then the exports.
#include <stdint.h>
#include <stdio.h>

#define EXPORT(name) __attribute__((export_name(#name)))

static int ready;
static int calls;

__attribute__((constructor)) static void set_up(void) { ready = 42; }

static __attribute__((noinline)) int64_t step(int64_t n) { return n & 1 ? 3 * n + 1 : n / 2; }

EXPORT(add) int32_t add(int32_t a, int32_t b) { calls++; return a + b; }

// Steps until 1 is reached; -1 for what has no answer.
EXPORT(collatz) int32_t collatz(int64_t n) {
  calls++;
  if (n < 1) return -1;
  int32_t steps = 0;
  for (; n != 1; n = step(n)) steps++;
  return steps;
}

EXPORT(fib) int32_t fib(int32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

EXPORT(mean) double mean(float a, double b) { calls++; return (a + b) / 2; }

// 42 once _initialize has run, else 0.
EXPORT(is_ready) int32_t is_ready(void) { return ready; }

EXPORT(greet) void greet(void) {
  printf("hello from a reactor, call %d\n", ++calls);
  fflush(stdout);
}

EXPORT(fail) void fail(void) { __builtin_trap(); }
