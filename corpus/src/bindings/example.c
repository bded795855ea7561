// A till that reads five orders, in C; the other examples here are the same
// program, with the same output and the same calls of the Observe API.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wasmtrace.h"

#define NOINLINE __attribute__((noinline))

static int total;

// The quantity after the '='. The span closes at each return.
static NOINLINE const char *quantity(const char *text, int *n) {
  WASMTRACE_SPAN("quantity");
  const char *equals = strchr(text, '=');
  if (!equals) {
    log_error("an order without a quantity");
    return "no quantity";
  }
  char *end;
  *n = (int)strtol(equals + 1, &end, 10);
  if (end == equals + 1 || *end) {
    log_warn("a quantity that is not a number");
    return "not a number";
  }
  return NULL;
}

static NOINLINE void sell(int n) {
  span_enter("sell");
  total += n;
  metric_histogram("order.quantity", n);
  log_trace("sold");
  span_exit();
}

static NOINLINE const char *order(const char *text, int *n) {
  WASMTRACE_SPAN("order");
  span_tag("text", text);
  const char *problem = quantity(text, n);
  if (problem) return problem;
  if (*n == 0) {
    log_info("nothing to sell");
    return "nothing";
  }
  sell(*n);
  metric_count("orders.sold", 1);
  return NULL;
}

// Opens a span that is still open when it returns.
static NOINLINE void open_report(int orders) {
  span_enter("report");
  span_tag_int("orders", orders);
}

static NOINLINE void close_report(void) {
  metric_gauge("till.total", total);
  span_exit();
}

int main(void) {
  static const char *const orders[] = {"bread=3", "milk", "cake=x", "tea=0", "egg=12"};
  const int n_orders = sizeof orders / sizeof orders[0];

  span_enter("day");
  span_tags("app:till,version:1");
  span_tag("opens, at:", "09:30, UTC");
  log_debug("open");
  for (int i = 0; i < n_orders; i++) {
    int n;
    const char *problem = order(orders[i], &n);
    printf("%.*s: ", (int)strcspn(orders[i], "="), orders[i]);
    if (problem)
      puts(problem);
    else
      printf("%d\n", n);
  }
  open_report(n_orders);
  printf("total %d of %d orders\n", total, n_orders);
  close_report();
  span_exit();
  return 0;
}
