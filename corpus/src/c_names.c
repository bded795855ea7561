// A recursive descent calculator with a table of functions, and eight queens:
// many small calls, direct, recursive, mutually recursive and indirect.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *at;
static const char *error;

static long expression(void);

static long fact(long n) { return n < 2 ? 1 : n * fact(n - 1); }
static long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static long gcd(long a, long b) { return b ? gcd(b, a % b) : a; }
static int is_odd(long n);
static int is_even(long n) { return n == 0 ? 1 : is_odd(n - 1); }
static int is_odd(long n) { return n == 0 ? 0 : is_even(n - 1); }
static long parity(long n) { return is_odd(n); }
static long square(long n) { return n * n; }

static const struct { const char *name; long (*call)(long); } functions[] = {
  {"fact", fact}, {"fib", fib}, {"parity", parity}, {"sq", square}, {"abs", labs},
};

static void space(void) { while (isspace((unsigned char)*at)) at++; }
static int eat(char c) { space(); if (*at != c) return 0; at++; return 1; }

static long fail(const char *what) { if (!error) error = what; return 0; }

static long primary(void) {
  space();
  if (eat('(')) { long v = expression(); return eat(')') ? v : fail("no closing bracket"); }
  if (eat('-')) return -primary();
  if (isdigit((unsigned char)*at)) { char *end; long v = strtol(at, &end, 10); at = end; return v; }
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    size_t n = strlen(functions[i].name);
    if (!strncmp(at, functions[i].name, n)) {
      at += n;
      return functions[i].call(primary());
    }
  }
  return fail("what is this");
}

static long term(void) {
  long v = primary();
  for (;;) {
    if (eat('*')) v *= primary();
    else if (eat('/')) { long d = primary(); v = d ? v / d : fail("division by zero"); }
    else if (eat('%')) { long d = primary(); v = d ? v % d : fail("division by zero"); }
    else if (eat('g')) v = gcd(v, primary());
    else return v;
  }
}

static long expression(void) {
  long v = term();
  for (;;) {
    if (eat('+')) v += term();
    else if (eat('-')) v -= term();
    else return v;
  }
}

static int by_value(const void *a, const void *b) {
  long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}

static int column[8];
static int safe(int row, int c) {
  for (int r = 0; r < row; r++)
    if (column[r] == c || abs(column[r] - c) == row - r) return 0;
  return 1;
}
static int place(int row) {
  if (row == 8) return 1;
  int n = 0;
  for (int c = 0; c < 8; c++)
    if (safe(row, c)) { column[row] = c; n += place(row + 1); }
  return n;
}

int main(void) {
  static const char *const lines[] = {
    "1 + 2 * 3", "(1 + 2) * 3", "fact(10) / fact(8)", "fib 18", "-sq(7) + abs(-50)",
    "1071 g 462", "parity(1001) * 10 + parity 44", "2 * (3 + ", "7 / (3 - 3)", "1 $ 2",
  };
  long values[16];
  size_t n = 0;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    at = lines[i];
    error = NULL;
    long v = expression();
    space();
    if (!error && *at) error = "text left over";
    if (error) printf("%-30s ! %s\n", lines[i], error);
    else printf("%-30s = %ld\n", lines[i], values[n++] = v);
  }
  qsort(values, n, sizeof *values, by_value);
  for (size_t i = 0; i < n; i++) printf("%ld%c", values[i], i + 1 < n ? ' ' : '\n');
  printf("queens %d\n", place(0));
  return 0;
}
