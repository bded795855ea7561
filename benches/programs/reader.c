// Reads standard input or a file in small pieces, and computes two checksums of each.
// usage: reader [TIMES [FILE]]     computes each checksum TIMES times
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>
#include "checksum.h"

#define CALL __attribute__((noinline))

enum { PIECE = 64 };
static unsigned char piece[PIECE];

CALL static uint32_t cyclic(uint32_t sum, const unsigned char *data, size_t length) {
  while (length--) {
    sum ^= *data++;
    for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (0xedb88320 & -(sum & 1));
  }
  return sum;
}

CALL static uint64_t fowler(const unsigned char *data, size_t length) { return checksum(data, length); }

CALL static long fill(int from) {
  long length = read(from, piece, sizeof piece);
  if (length < 0) {
    perror("reader");
    exit(1);
  }
  return length;
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1, from = argc > 2 ? open(argv[2], O_RDONLY) : STDIN_FILENO;
  uint64_t total = 0, sum = 0;
  uint32_t crc = ~0u;
  for (long length; (length = fill(from)) > 0; total += length)
    for (int i = 0; i < times; i++) {
      crc = cyclic(crc, piece, length);
      sum = sum * 31 + fowler(piece, length);
    }
  printf("reader %llu bytes, %08x, %016llx\n", (unsigned long long)total, ~crc, (unsigned long long)sum);
}
