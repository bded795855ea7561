// tree-sitter with its grammar of JSON: parses a generated text and walks over the tree.
// usage: tree-sitter [TIMES]     does both TIMES times as often as by default
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "checksum.h"
#include "tree_sitter/api.h"

const TSLanguage *tree_sitter_json(void);

enum { LENGTH = 200000, ROOM = 1000, DEEPEST = 6 };

// In a component, the adapter for WASI preview 1 has its memory from here. Otherwise it grows the memory itself, and a libc
// without __heap_end takes that for its heap.
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  return realloc(old, size);
}

static char text[LENGTH + ROOM];
static uint32_t length, seed = 7;

static uint32_t below(uint32_t end) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 16) % end;
}

static void write(const char *piece) {
  size_t size = strlen(piece);
  memcpy(text + length, piece, size);
  length += size;
}

static void write_string(void) {
  static const char *words[] = {"name", "size", "line\\n", "\\u00e9t\\u00e9", "two words", "\\\"quoted\\\"", "", "x"};
  write("\"");
  write(words[below(8)]);
  write("\"");
}

static void write_value(int depth) {
  static const char *literals[] = {"true", "false", "null", "0", "-17", "3.25", "6.02e23", "1234567890"};
  uint32_t kind = below(depth < DEEPEST && length < LENGTH ? 8 : 4);
  if (kind < 2) return write(literals[below(8)]);
  if (kind < 4) return write_string();
  int is_object = kind & 1;
  write(is_object ? "{" : "[");
  for (uint32_t i = below(6); i > 0; i--) {
    if (is_object) {
      write_string();
      write(": ");
    }
    write_value(depth + 1);
    if (i > 1) write(", ");
  }
  write(is_object ? "}" : "]");
}

static uint64_t walk(TSNode root, uint64_t *nodes) {
  TSTreeCursor cursor = ts_tree_cursor_new(root);
  uint64_t sum = 0;
  for (;;) {
    TSNode node = ts_tree_cursor_current_node(&cursor);
    ++*nodes;
    sum = sum * 31 + (uint64_t)ts_node_end_byte(node) * 256 + ts_node_symbol(node);
    if (ts_tree_cursor_goto_first_child(&cursor)) continue;
    while (!ts_tree_cursor_goto_next_sibling(&cursor)) {
      if (!ts_tree_cursor_goto_parent(&cursor)) {
        ts_tree_cursor_delete(&cursor);
        return sum;
      }
    }
  }
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  for (write("["); length < LENGTH; write(",\n")) write_value(0);
  write("null]\n");
  TSParser *parser = ts_parser_new();
  if (!ts_parser_set_language(parser, tree_sitter_json())) return 1;
  uint64_t sum = 0, nodes = 0;
  for (int i = 0; i < 10 * times; i++) {
    TSTree *tree = ts_parser_parse_string(parser, NULL, text, length);
    TSNode root = ts_tree_root_node(tree);
    if (ts_node_has_error(root)) return 1;
    sum = sum * 31 + walk(root, &nodes);
    ts_tree_delete(tree);
  }
  ts_parser_delete(parser);
  printf("tree-sitter %u bytes, %016llx, %llu nodes, %016llx\n", length, (unsigned long long)checksum(text, length),
         (unsigned long long)nodes, (unsigned long long)sum);
}
