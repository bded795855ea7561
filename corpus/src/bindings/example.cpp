// A till that reads five orders, in C++; the other examples here are the same
// program, with the same output and the same calls of the Observe API.
#include <charconv>
#include <cstdio>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

#include "wasmtrace.hpp"

using std::string_view;

namespace {

class Till {
 public:
  // A quantity, or the problem with it.
  struct Order {
    int quantity = 0;
    string_view problem;
  };

  [[gnu::noinline]] Order order(string_view text) {
    wasmtrace::Span span("order");
    span.tag("text", text);
    const Order order = quantity(text);
    if (!order.problem.empty()) return order;
    if (order.quantity == 0) {
      wasmtrace::info("nothing to sell");
      return {0, "nothing"};
    }
    sell(order.quantity);
    wasmtrace::count("orders.sold");
    return order;
  }

  // The span is still open when this returns, and moves to the caller.
  [[gnu::noinline]] wasmtrace::Span open_report(std::size_t orders) {
    wasmtrace::Span span("report");
    span.tag("orders", orders);
    return span;
  }

  [[gnu::noinline]] void close_report(wasmtrace::Span report) {
    wasmtrace::gauge("till.total", total_);
    report.end();
  }

  int total() const { return total_; }

 private:
  // The quantity after the '='. The span closes at each return.
  [[gnu::noinline]] Order quantity(string_view text) {
    wasmtrace::Span span("quantity");
    const auto equals = text.find('=');
    if (equals == text.npos) {
      wasmtrace::error("an order without a quantity");
      return {0, "no quantity"};
    }
    text.remove_prefix(equals + 1);
    int n = 0;
    const char* end = text.data() + text.size();
    if (auto [rest, failed] = std::from_chars(text.data(), end, n); failed != std::errc() || rest != end) {
      wasmtrace::warn("a quantity that is not a number");
      return {0, "not a number"};
    }
    return {n, {}};
  }

  [[gnu::noinline]] void sell(int n) {
    wasmtrace::Span span("sell");
    total_ += n;
    wasmtrace::histogram("order.quantity", n);
    wasmtrace::trace("sold");
  }

  int total_ = 0;
};

}  // namespace

int main() {
  constexpr string_view orders[] = {"bread=3", "milk", "cake=x", "tea=0", "egg=12"};
  Till till;

  wasmtrace::Span day("day");
  wasmtrace::tags("app:till,version:1");
  day.tag("opens, at:", "09:30, UTC");
  wasmtrace::debug("open");
  for (string_view text : orders) {
    const auto order = till.order(text);
    const string_view item = text.substr(0, text.find('='));
    std::printf("%.*s: ", static_cast<int>(item.size()), item.data());
    if (order.problem.empty())
      std::printf("%d\n", order.quantity);
    else
      std::printf("%.*s\n", static_cast<int>(order.problem.size()), order.problem.data());
  }
  auto report = till.open_report(std::size(orders));
  std::printf("total %d of %zu orders\n", till.total(), std::size(orders));
  till.close_report(std::move(report));
}
