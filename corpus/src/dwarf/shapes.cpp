// What compilers say of code in DWARF, in one small program: inlined calls, lists of ranges and of locations, functions and
// data as parameters of templates, virtual calls, recursion, a loop that grows the memory. Needs no library.
#include "inline.h"
#define LIMIT 42

int data[4] = {1, 2, 3, 4};

template <int (*F)(int), int *P> struct Both {
  static int go(int x) { return F(x) + *P; }
};

__attribute__((noinline)) static int thrice(int x) {
  if (x > 1000)
    return 0;
  return x * 3;
}

struct Base {
  int bias = 1;
  virtual int f(int x) { return x + bias; }
};

struct Derived : Base {
  int k;
  explicit Derived(int k) : k(k) {}
  int f(int x) override {
    int y = x * k;
    for (int i = 0; i < k; i++) {
      int z = i ^ y;
      if (z & 1)
        y += z;
      else
        y -= twice(z);
    }
    return y;
  }
};

__attribute__((noinline)) static int recursive(int n) {
  if (n < 2)
    return n;
  return recursive(n - 1) + recursive(n - 2);
}

__attribute__((noinline)) static int ways_out(int a, int b, int c) {
  switch (a) {
  case 0:
    return b;
  case 1:
    return c;
  case 2: {
    int t = b;
    b = c;
    c = t;
    return b - c;
  }
  default:
    break;
  }
  int sum = 0;
  for (int i = 0; i < c; i++) {
    int q = twice(i) + thrice(b);
    sum += q;
    if (sum > LIMIT)
      break;
  }
  return sum;
}

__attribute__((noinline)) static int grow(int pages) {
  int sum = 0;
  for (int i = 0; i < pages; i++)
    sum += (int)__builtin_wasm_memory_grow(0, 1);
  return sum;
}

extern "C" void nothing() {}

extern "C" int other(int);

extern "C" int hand_over(int x) { return other(x + 1); }

extern "C" int run(int argc) {
  Derived derived(argc + 3);
  Base base;
  Base *either = argc > 5 ? &base : &derived;
  nothing();
  return Both<thrice, data>::go(argc) + either->f(7) + recursive(10) + ways_out(argc, 2, 3) + ways_out(7, 8, 90) +
         grow(argc & 1) + other(argc);
}

// Divides by nothing at the bottom.
__attribute__((noinline)) static int divide(int by) { return 100 / by; }

extern "C" int trap(int depth) {
  if (depth > 0)
    return trap(depth - 1) + 1;
  int r = thrice(7);
  return divide(depth) + r;
}
