// Recursion, a loop, a call through a table and something printed: enough for a source map and for debug information.
#include <stdio.h>
#include <stdlib.h>

static int fib(int n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static int by_size(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}

static int collatz(unsigned n) {
  int steps = 0;
  while (n != 1) {
    if (n % 2)
      n = 3 * n + 1;
    else
      n /= 2;
    steps++;
  }
  return steps;
}

int main(int argc, char **argv) {
  int numbers[8];
  for (int i = 0; i < 8; i++)
    numbers[i] = collatz(27 + i * argc);
  qsort(numbers, 8, sizeof numbers[0], by_size);
  printf("%d %d %d\n", fib(11 + argc), numbers[0], numbers[7]);
  return 0;
}
