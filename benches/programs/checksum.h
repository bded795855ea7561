// FNV-1a, 64 bits: what a program prints at its end, so that a wrong run is noticed.
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline uint64_t checksum(const void *data, size_t length) {
  uint64_t sum = 0xcbf29ce484222325;
  for (const unsigned char *byte = data; length--; byte++) sum = (sum ^ *byte) * 0x100000001b3;
  return sum;
}

// Letters in words and lines, some more often than others: compresses about as well as prose does.
static inline void prose(char *text, size_t length) {
  static const char *words[] = {"the ", "quick ", "brown ", "fox ", "jumps ", "over ", "a ", "lazy ", "dog ", "and ",
                                "then ", "sleeps", ".\n", ", ", "0123456789", "wasm"};
  uint32_t random = 7;
  for (size_t at = 0; at < length;) {
    random = random * 1664525u + 1013904223u;
    if (random >> 29 == 0) text[at++] = 'a' + (random >> 16) % 26;
    else
      for (const char *c = words[(random >> 24) % 16]; *c && at < length;) text[at++] = *c++;
  }
}
