// Compresses and decompresses: few calls of large functions.
// usage: bzip2 [TIMES]     does both TIMES times
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bzlib.h"
#include "checksum.h"

void bz_internal_error(int code) {
  printf("bzip2: internal error %d\n", code);
  exit(1);
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  unsigned length = 2500000, packed_length = length + length / 100 + 600, again_length = length;
  char *text = malloc(length), *packed = malloc(packed_length), *again = malloc(again_length);
  prose(text, length);
  const unsigned room = packed_length;
  while (times-- > 0) {
    packed_length = room;
    if (BZ2_bzBuffToBuffCompress(packed, &packed_length, text, length, 9, 0, 0) != BZ_OK) return 1;
    if (BZ2_bzBuffToBuffDecompress(again, &again_length, packed, packed_length, 0, 0) != BZ_OK) return 1;
    if (again_length != length || memcmp(text, again, length)) return 1;
  }
  printf("bzip2 %u -> %u, %016llx\n", length, packed_length, (unsigned long long)checksum(packed, packed_length));
}
