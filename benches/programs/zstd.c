// Compresses and decompresses, at a fast level and at a thorough one.
// usage: zstd [TIMES]     does all of it TIMES times
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "checksum.h"
#include "zstd.h"

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  size_t length = 8000000, room = ZSTD_compressBound(length);
  char *text = malloc(length), *packed = malloc(room), *again = malloc(length);
  prose(text, length);
  for (int run = 0; run < 2 * times; run++) {
    int level = run % 2 ? 12 : 3;
    size_t packed_length = ZSTD_compress(packed, room, text, length, level);
    if (ZSTD_isError(packed_length)) return 1;
    memset(again, 0, length);
    if (ZSTD_decompress(again, length, packed, packed_length) != length || memcmp(text, again, length)) return 1;
    printf("zstd %d: %zu -> %zu, %016llx\n", level, length, packed_length,
           (unsigned long long)checksum(packed, packed_length));
  }
}
