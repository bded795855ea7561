// C++ exceptions: thrown ten frames down, past destructors, rethrown, caught by
// type, by base and by dots, thrown from a handler, kept and rethrown later.
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

#define CALL __attribute__((noinline))

static int alive;
static volatile int sink;

struct Tracked {
  int n;
  CALL explicit Tracked(int n) : n(n) { alive++; }
  CALL ~Tracked() { alive--; }
};

struct Plain {
  int code;
};

struct Parent {
  virtual ~Parent() = default;
  virtual const char *who() const { return "parent"; }
};
struct Child : Parent {
  const char *who() const override { return "child"; }
};

static CALL int bottom(int what) {
  switch (what) {
  case 1: throw what;
  case 2: throw Plain{what * 11};
  case 3: throw std::runtime_error("three");
  case 4: throw Child();
  case 5: throw "five";
  case 6: throw std::bad_alloc();
  default: return what;
  }
}

// Ten frames, each with something to destroy on the way.
template <int N> struct Frame {
  static CALL int enter(int what) {
    Tracked t(N);
    int r = Frame<N - 1>::enter(what);
    sink = r;
    return r + 1;
  }
};
template <> struct Frame<0> {
  static CALL int enter(int what) { return bottom(what); }
};

// Catches one kind, and lets the others pass.
static CALL int half_way(int what) {
  try {
    return Frame<5>::enter(what);
  } catch (const Plain &p) {
    std::printf("plain %d, alive %d\n", p.code, alive);
    throw; // the same exception, on to the caller
  } catch (int n) {
    throw std::logic_error(n == 1 ? "from one" : "from another");
  }
}

static CALL int top(int what) {
  Tracked t(100);
  int r = half_way(what);
  sink = r;
  return r + 1;
}

static CALL void attempt(int what) {
  try {
    std::printf("%d: returned %d\n", what, top(what));
  } catch (const std::logic_error &e) {
    std::printf("%d: logic_error %s\n", what, e.what());
  } catch (const std::exception &e) {
    std::printf("%d: exception %s\n", what, e.what());
  } catch (const Parent &p) {
    std::printf("%d: %s\n", what, p.who());
  } catch (const Plain &p) {
    std::printf("%d: plain again %d\n", what, p.code);
  } catch (...) {
    std::printf("%d: something\n", what);
  }
}

static CALL std::exception_ptr keep(int what) {
  try {
    Frame<3>::enter(what);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

// Throws and catches many times, in a loop and in a recursion.
static CALL int many(int n) {
  if (n == 0) throw n;
  try {
    return many(n - 1);
  } catch (int depth) {
    if (depth < 3) throw depth + 1;
    return depth + n;
  }
}

int main() {
  for (int what = 0; what < 7; what++) attempt(what);
  std::printf("ten frames: ");
  try {
    Frame<10>::enter(3);
  } catch (const std::runtime_error &e) {
    std::printf("%s\n", e.what());
  }
  std::exception_ptr p = keep(4);
  try {
    if (p) std::rethrow_exception(p);
  } catch (const Child &c) {
    std::printf("kept %s\n", c.who());
  }
  p = nullptr;
  std::printf("many %d\n", many(8));
  int caught = 0;
  for (int i = 0; i < 50; i++) {
    try {
      Frame<2>::enter(1);
    } catch (int) {
      caught++;
    }
  }
  std::printf("caught %d, uncaught %d, alive %d\n", caught, std::uncaught_exceptions(), alive);
  return alive;
}
