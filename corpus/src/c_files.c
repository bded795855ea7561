// Counts lines, words and bytes. usage: c_files [INPUT [RESULT]]
// Without INPUT reads stdin; with RESULT also writes the counts there.
// COUNT_LABEL in the environment names the output; a summary goes to stderr.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 64

struct word { struct word *next; unsigned count; char text[]; };
static struct word *table[BUCKETS];

static struct counts { unsigned lines, words, bytes, distinct; } counts;

static unsigned hash(const char *s) {
  unsigned h = 2166136261u;
  while (*s) h = (h ^ (unsigned char)*s++) * 16777619u;
  return h;
}

static void add_word(const char *s) {
  counts.words++;
  struct word **at = &table[hash(s) % BUCKETS];
  for (; *at; at = &(*at)->next)
    if (!strcmp((*at)->text, s)) { (*at)->count++; return; }
  struct word *w = malloc(sizeof *w + strlen(s) + 1);
  if (!w) { fputs("no memory\n", stderr); exit(70); }
  w->next = NULL;
  w->count = 1;
  strcpy(w->text, s);
  *at = w;
  counts.distinct++;
}

static void read_all(FILE *in) {
  char word[64];
  size_t n = 0;
  for (int c;;) {
    c = getc(in);
    if (c != EOF) counts.bytes++;
    if (c == '\n') counts.lines++;
    if (c != EOF && !isspace(c)) {
      if (n < sizeof word - 1) word[n++] = (char)tolower(c);
      continue;
    }
    if (n) { word[n] = 0; add_word(word); n = 0; }
    if (c == EOF) return;
  }
}

static const struct word *commonest(void) {
  const struct word *best = NULL;
  for (int i = 0; i < BUCKETS; i++)
    for (const struct word *w = table[i]; w; w = w->next)
      if (!best || w->count > best->count || (w->count == best->count && strcmp(w->text, best->text) < 0)) best = w;
  return best;
}

static void report(FILE *out, const char *label) {
  const struct word *best = commonest();
  fprintf(out, "%s: %u lines, %u words, %u bytes, %u distinct\n", label, counts.lines, counts.words, counts.bytes,
          counts.distinct);
  if (best) fprintf(out, "commonest: %s (%u)\n", best->text, best->count);
}

int main(int argc, char **argv) {
  const char *label = getenv("COUNT_LABEL");
  FILE *in = stdin;
  if (argc > 1 && !(in = fopen(argv[1], "r"))) {
    fprintf(stderr, "cannot open %s: %s\n", argv[1], strerror(errno));
    return 2;
  }
  read_all(in);
  if (in != stdin) fclose(in);
  report(stdout, label ? label : "counts");
  if (argc > 2) {
    FILE *out = fopen(argv[2], "w");
    if (!out) {
      fprintf(stderr, "cannot write %s: %s\n", argv[2], strerror(errno));
      return 3;
    }
    report(out, "result");
    fclose(out);
  }
  fprintf(stderr, "done: %u words\n", counts.words);
  return 0;
}
