/* A WASI command in C. Arguments: words to sort, or one of the modes below.
 *
 *     (words)      sorts them by way of a tree, prints them with a count and a checksum
 *     recurse N    queens on a board of N, Ackermann's function of 2 and N
 *     trap         divides by zero five calls deep
 *     exit         exits with code 3 five calls deep
 *     work N       sorts N generated words
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

struct node {
  struct node *left, *right;
  char word[];
};

static unsigned words, sum = 2166136261u;

NOINLINE static struct node *new_node(const char *word) {
  size_t size = strlen(word) + 1;
  struct node *node = malloc(sizeof *node + size);
  if (!node) abort();
  node->left = node->right = NULL;
  memcpy(node->word, word, size);
  return node;
}

NOINLINE static struct node *insert(struct node *root, const char *word) {
  if (!root) return new_node(word);
  if (strcmp(word, root->word) < 0)
    root->left = insert(root->left, word);
  else
    root->right = insert(root->right, word);
  return root;
}

NOINLINE static void count(const char *word) {
  words++;
  for (; *word; word++) sum = (sum ^ (unsigned char)*word) * 16777619u;
}

NOINLINE static void print(const char *word) {
  count(word);
  printf("%s\n", word);
}

NOINLINE static void walk(const struct node *root, void (*visit)(const char *)) {
  if (!root) return;
  walk(root->left, visit);
  visit(root->word);
  walk(root->right, visit);
}

NOINLINE static void release(struct node *root) {
  if (!root) return;
  release(root->left);
  release(root->right);
  free(root);
}

NOINLINE static unsigned queens(unsigned all, unsigned columns, unsigned left, unsigned right) {
  if (columns == all) return 1;
  unsigned found = 0;
  for (unsigned open = all & ~(columns | left | right); open; open &= open - 1) {
    unsigned bit = open & -open;
    found += queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return found;
}

NOINLINE static unsigned ackermann(unsigned m, unsigned n) {
  if (m == 0) return n + 1;
  if (n == 0) return ackermann(m - 1, 1);
  return ackermann(m - 1, ackermann(m, n - 1));
}

NOINLINE static int end_in_trap(int depth) {
  volatile int zero = depth;
  return 10 / zero;
}

NOINLINE static int end_in_exit(int depth) {
  printf("exit with code 3 at depth %d\n", depth);
  exit(3);
}

NOINLINE static int descend(int depth, int (*end)(int)) {
  return depth == 0 ? end(depth) : descend(depth - 1, end) + 1;
}

NOINLINE static void work(int count_of_words) {
  struct node *root = NULL;
  uint32_t state = 1;
  char word[16];
  for (int i = 0; i < count_of_words; i++) {
    state = state * 1664525u + 1013904223u;
    snprintf(word, sizeof word, "word%06u", (unsigned)(state >> 12));
    root = insert(root, word);
  }
  walk(root, count);
  release(root);
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  int n = argc > 2 ? atoi(argv[2]) : 6;
  if (!strcmp(mode, "trap")) return descend(5, end_in_trap);
  if (!strcmp(mode, "exit")) return descend(5, end_in_exit);
  if (!strcmp(mode, "recurse")) {
    printf("%d queens: %u\n", n, queens((1u << n) - 1, 0, 0, 0));
    printf("ackermann(2, %d) = %u\n", n, ackermann(2, (unsigned)n));
    return 0;
  }
  if (!strcmp(mode, "work")) {
    work(n);
  } else {
    struct node *root = NULL;
    for (int i = 1; i < argc; i++) root = insert(root, argv[i]);
    walk(root, print);
    release(root);
  }
  printf("%u words, checksum %08x\n", words, sum);
  return 0;
}
