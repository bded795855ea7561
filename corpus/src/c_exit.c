// Every way a program can end, each from deep inside nested calls.
// usage: c_exit [exit N | trap | abort | recurse N | recurse forever | oob | div0 | main N]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEP __attribute__((noinline, disable_tail_calls))

enum how { HOW_NOTHING, HOW_EXIT, HOW_TRAP, HOW_ABORT, HOW_OOB, HOW_DIV0 };

static volatile int zero, depth_seen, sink;
static int *volatile wild = (int *)0xfffffff0u;

// The last frame: the one that ends the program, or returns.
static DEEP int level0(enum how how, int n) {
  switch (how) {
  case HOW_EXIT: exit(n);
  case HOW_TRAP: __builtin_trap();
  case HOW_ABORT: abort();
  case HOW_OOB: return *(volatile int *)wild;
  case HOW_DIV0: return n / zero;
  default: return n + 1;
  }
}

static DEEP int level1(enum how how, int n) { int r = level0(how, n); sink = r; return r + 1; }
static DEEP int level2(enum how how, int n) { int r = level1(how, n); sink = r; return r + 1; }
static DEEP int level3(enum how how, int n) { int r = level2(how, n); sink = r; return r + 1; }
static DEEP int level4(enum how how, int n) { int r = level3(how, n); sink = r; return r + 1; }
static DEEP int level5(enum how how, int n) { int r = level4(how, n); sink = r; return r + 1; }

// Uses no memory stack, so it is the engine's call stack that runs out.
static DEEP int recurse(int n) {
  depth_seen++;
  if (n == 0)
    return 0;
  int r = recurse(n - 1);
  sink = r;
  return r + 1;
}

// The same with no way out: an n that never reaches zero.
static DEEP int recurse_forever(int n) {
  depth_seen++;
  if (zero)
    return n;
  int r = recurse_forever(n + 1);
  sink = r;
  return r + 1;
}

static void say(const char *what) {
  fputs(what, stdout);
  fputs("\n", stdout);
  fflush(stdout); // what was printed before a trap must not be lost
}

int main(int argc, char **argv) {
  const char *verb = argc > 1 ? argv[1] : "";
  const char *arg = argc > 2 ? argv[2] : "0";
  if (!*verb) {
    say("nothing asked");
    sink = level5(HOW_NOTHING, 1);
    say(sink == 7 ? "seven" : "not seven");
    return 0;
  }
  say(verb);
  if (!strcmp(verb, "exit")) level5(HOW_EXIT, atoi(arg));
  else if (!strcmp(verb, "trap")) level5(HOW_TRAP, 0);
  else if (!strcmp(verb, "abort")) level5(HOW_ABORT, 0);
  else if (!strcmp(verb, "oob")) level5(HOW_OOB, 0);
  else if (!strcmp(verb, "div0")) level5(HOW_DIV0, 1);
  else if (!strcmp(verb, "main")) return atoi(arg);
  else if (!strcmp(verb, "recurse") && !strcmp(arg, "forever")) recurse_forever(0);
  else if (!strcmp(verb, "recurse")) {
    int n = recurse(atoi(arg));
    say(n == atoi(arg) && depth_seen == n + 1 ? "came back" : "lost count");
  } else {
    say("unknown verb");
    return 64;
  }
  say("still here");
  return 0;
}
