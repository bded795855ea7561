// Virtual calls, diamonds, templates, lambdas, overloads, operators, nested and
// anonymous namespaces, destructors, static objects; no exceptions, no RTTI.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#define CALL __attribute__((noinline))

namespace geo {

struct Counter {
  int made = 0, gone = 0;
  ~Counter() { std::printf("counter: %d made, %d gone\n", made, gone); }
};
static Counter counter; // a static object: built and destroyed around main

class Shape {
public:
  Shape() { ++counter.made; }
  virtual ~Shape() { ++counter.gone; }
  virtual long area() const = 0;
  virtual const char *name() const { return "shape"; }
};

class Rect : public Shape {
protected:
  long w, h;

public:
  CALL Rect(long w, long h) : w(w), h(h) {}
  CALL long area() const override { return w * h; }
  const char *name() const override { return "rect"; }
};

class Square final : public Rect {
public:
  CALL explicit Square(long a) : Rect(a, a) {}
  CALL ~Square() override { std::printf("~Square %ld\n", w); }
  const char *name() const override { return "square"; }
};

namespace detail {
template <int N> struct Power {
  static CALL long of(long x) { return x * Power<N - 1>::of(x); }
};
template <> struct Power<0> {
  static long of(long) { return 1; }
};
} // namespace detail

class Cube : public Shape {
  long a;

public:
  explicit Cube(long a) : a(a) {}
  CALL long area() const override { return 6 * detail::Power<2>::of(a); }
  const char *name() const override { return "cube"; }
};

} // namespace geo

// A diamond with a virtual base: thunks adjust `this`.
struct Base {
  int id = 1;
  virtual ~Base() = default;
  virtual int value() { return id; }
};
struct Left : virtual Base {
  int left = 10;
  CALL int value() override { return id + left; }
};
struct Right : virtual Base {
  int right = 100;
  virtual int other() { return right; }
};
struct Bottom final : Left, Right {
  CALL int value() override { return Left::value() + right; }
  CALL int other() override { return right * 2; }
};

template <typename T, int N> class Stack {
  T items[N];
  int n = 0;

public:
  CALL bool push(T v) { return n < N ? (items[n++] = v, true) : false; }
  CALL T pop() { return n ? items[--n] : T(); }
  int size() const { return n; }
};

struct Vec {
  int x, y;
  CALL friend Vec operator+(Vec a, Vec b) { return {a.x + b.x, a.y + b.y}; }
  CALL Vec &operator*=(int k) { x *= k, y *= k; return *this; }
  CALL explicit operator bool() const { return x || y; }
};

namespace {
CALL int over(int x) { return x + 1; }
CALL int over(double x) { return static_cast<int>(x * 2); }
CALL int over(const char *s) { return s[0]; }

template <typename... T> CALL int sum(T... v) { return (0 + ... + v); }

CALL long apply(const std::function<long(long)> &f, long x) { return f(x); }

struct Guard {
  const char *what;
  CALL explicit Guard(const char *what) : what(what) { std::printf("enter %s\n", what); }
  CALL ~Guard() { std::printf("leave %s\n", what); }
};
} // namespace

static CALL void shapes() {
  Guard g("shapes");
  std::vector<std::unique_ptr<geo::Shape>> all;
  all.push_back(std::make_unique<geo::Rect>(3, 4));
  all.push_back(std::make_unique<geo::Square>(5));
  all.push_back(std::make_unique<geo::Cube>(2));
  all.push_back(std::make_unique<geo::Square>(1));
  std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) { return a->area() < b->area(); });
  for (const auto &s : all) std::printf("%s %ld\n", s->name(), s->area());
}

static CALL void lambdas() {
  Guard g("lambdas");
  long k = 7;
  auto add = [k](long x) { return x + k; };
  std::printf("lambda %ld %ld\n", apply(add, 3), apply([&](long x) { return k = x * k; }, 6));
  std::function<long(long)> fib = [&fib](long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); };
  std::printf("fib %ld, k %ld\n", fib(12), k);
}

int main() {
  shapes();
  lambdas();
  Bottom b;
  Left *l = &b;
  Right *r = &b;
  Base *o = &b;
  std::printf("diamond %d %d %d\n", l->value(), r->other(), o->value());
  Stack<int, 3> ints;
  Stack<double, 2> doubles;
  for (int i = 0; i < 5; i++) ints.push(i * i);
  doubles.push(2.5);
  std::printf("stack %d %d %d %.1f\n", ints.size(), ints.pop(), ints.pop(), doubles.pop());
  Vec v = Vec{1, 2} + Vec{3, 4};
  v *= 3;
  std::printf("vec %d %d %s\n", v.x, v.y, v ? "set" : "null");
  std::printf("over %d %d %d sum %d\n", over(1), over(1.5), over("A"), sum(1, 2, 3, 4));
  int a[] = {5, 3, 9, 1, 7, 2, 8};
  std::sort(a, a + 7, std::greater<int>());
  for (int x : a) std::printf("%d ", x);
  std::printf("\n");
  return 0;
}
