/* wasmtrace.h: spans, tags, metrics and logs from inside a WebAssembly module.
 *
 * One C99 header without dependencies, for clang (the only C compiler with the
 * wasm import attributes). It calls the Observe API, `dylibso:observe/api`:
 *
 *     #include "wasmtrace.h"
 *
 *     int load(const char *path) {
 *       WASMTRACE_SPAN("load");            // closes at every way out of the scope
 *       span_tag("path", path);
 *       if (!path[0]) { log_error("no path"); return -1; }
 *       metric_count("files.loaded", 1);
 *       return 0;
 *     }
 *
 * Every function has the prefix `wasmtrace_`; the short names at the end are
 * aliases. Define, before the first #include:
 *
 *   WASMTRACE_NO_SHORT_NAMES   to leave the aliases out;
 *   WASMTRACE_OFF              to make everything a no-op, without any import;
 *   WASMTRACE_LINE             to change the size of the buffer below.
 *
 * Anywhere but on wasm everything is a no-op too, so the code builds natively.
 *
 * A module imports only the functions it uses, and then its host must have
 * them. Text is UTF-8 (some hosts trap on anything else); a null pointer is
 * the empty text. Tags, metrics and logs belong to the innermost open span.
 *
 * Tags and metrics are written into a buffer of WASMTRACE_LINE bytes on the
 * stack: what does not fit is cut off, at a whole character.
 *
 * Licence: MIT OR Apache-2.0 */
#ifndef WASMTRACE_H
#define WASMTRACE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of one line of tags or of statsd; at least 64. */
#ifndef WASMTRACE_LINE
#define WASMTRACE_LINE 512
#endif

/* 1 where the calls reach a host, 0 where they are no-ops. */
#if defined(__wasm__) && !defined(WASMTRACE_OFF)
#define WASMTRACE_ON 1
#else
#define WASMTRACE_ON 0
#endif

/* Even without optimisation, nothing that opens or closes a span may be a
 * function of its own: automatic instrumentation would make it a span too. */
#if defined(__GNUC__)
#define WASMTRACE_INLINE static inline __attribute__((always_inline, unused))
#define WASMTRACE_HELPER static inline __attribute__((unused))
#else
#define WASMTRACE_INLINE static inline
#define WASMTRACE_HELPER static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The API itself. */
#if WASMTRACE_ON
#define WASMTRACE_IMPORT(name) __attribute__((import_module("dylibso:observe/api"), import_name(name))) extern
WASMTRACE_IMPORT("span-enter") void wasmtrace_api_span_enter(const char *name, uint32_t len);
WASMTRACE_IMPORT("span-exit") void wasmtrace_api_span_exit(void);
WASMTRACE_IMPORT("span-tags") void wasmtrace_api_span_tags(const char *tags, uint32_t len);
WASMTRACE_IMPORT("metric") void wasmtrace_api_metric(uint32_t format, const char *line, uint32_t len);
WASMTRACE_IMPORT("log") void wasmtrace_api_log(uint32_t level, const char *message, uint32_t len);
#undef WASMTRACE_IMPORT
#else
WASMTRACE_INLINE void wasmtrace_api_span_enter(const char *name, uint32_t len) { (void)name, (void)len; }
WASMTRACE_INLINE void wasmtrace_api_span_exit(void) {}
WASMTRACE_INLINE void wasmtrace_api_span_tags(const char *tags, uint32_t len) { (void)tags, (void)len; }
WASMTRACE_INLINE void wasmtrace_api_metric(uint32_t f, const char *line, uint32_t len) { (void)f, (void)line, (void)len; }
WASMTRACE_INLINE void wasmtrace_api_log(uint32_t l, const char *text, uint32_t len) { (void)l, (void)text, (void)len; }
#endif

/* The length of a text: a constant for a literal, and without a libc. */
WASMTRACE_INLINE size_t wasmtrace_length(const char *text) {
  size_t n = 0;
#if defined(__GNUC__)
  if (text && __builtin_constant_p(__builtin_strlen(text))) return __builtin_strlen(text);
#endif
  while (text && text[n]) n++;
  return n;
}

/* ---- Spans ------------------------------------------------------------ */

/* Opens a span. It stays open after the calling function has returned, until
 * wasmtrace_span_exit: spans close in the reverse order of their opening. */
WASMTRACE_INLINE void wasmtrace_span_enter_n(const char *name, size_t len) {
  wasmtrace_api_span_enter(name, (uint32_t)len);
}
WASMTRACE_INLINE void wasmtrace_span_enter(const char *name) {
  wasmtrace_span_enter_n(name, wasmtrace_length(name));
}

/* Closes the innermost span opened with wasmtrace_span_enter. */
WASMTRACE_INLINE void wasmtrace_span_exit(void) { wasmtrace_api_span_exit(); }

/* WASMTRACE_SPAN("name"); opens a span here and closes it at the end of the
 * enclosing scope: at `return`, `break`, `goto`, and when a C++ exception
 * passes. Not at longjmp and exit(), where the host closes it. */
#if defined(__GNUC__)
#define WASMTRACE_SPAN(name) WASMTRACE_SPAN_AT(name, __LINE__)
#define WASMTRACE_SPAN_AT(name, line) WASMTRACE_SPAN_AS(name, line) /* a number by now */
#define WASMTRACE_SPAN_AS(name, line) \
  __attribute__((cleanup(wasmtrace_span_cleanup), unused)) const char wasmtrace_span_##line = wasmtrace_span_open(name)
WASMTRACE_INLINE char wasmtrace_span_open(const char *name) {
  wasmtrace_span_enter(name);
  return 0;
}
WASMTRACE_INLINE void wasmtrace_span_cleanup(const char *variable) {
  (void)variable;
  wasmtrace_span_exit();
}
#else
#define WASMTRACE_SPAN(name) ((void)(name))
#endif

/* ---- Tags ------------------------------------------------------------- */

/* Where a line is put together. */
struct wasmtrace_line {
  size_t len;
  char text[WASMTRACE_LINE];
};

/* Appends a text, up to the length `end` of the whole line; the characters of
 * `not_in_it` become '_'. */
WASMTRACE_HELPER void wasmtrace_line_add(struct wasmtrace_line *line, const char *text, size_t len, size_t end,
                                         const char *not_in_it) {
  const size_t room = end - line->len;
  size_t n = len < room ? len : room, i, j;
  /* not within a UTF-8 character */
  while (n > 0 && n < len && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
  for (i = 0; i < n; i++) {
    char c = text[i];
    for (j = 0; not_in_it[j]; j++)
      if (c == not_in_it[j]) c = '_';
    line->text[line->len++] = c;
  }
}

/* Appends a whole number; there must be 20 bytes of room. */
WASMTRACE_HELPER void wasmtrace_line_add_int(struct wasmtrace_line *line, int64_t value) {
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0) line->text[line->len++] = '-';
  while (at < sizeof digits) line->text[line->len++] = digits[at++];
}

/* Several tags of the innermost span, ready to send: "key:value,key:value". */
WASMTRACE_INLINE void wasmtrace_span_tags_n(const char *tags, size_t len) {
  wasmtrace_api_span_tags(tags, (uint32_t)len);
}
WASMTRACE_INLINE void wasmtrace_span_tags(const char *tags) { wasmtrace_span_tags_n(tags, wasmtrace_length(tags)); }

/* One tag of the innermost span. A ',' ends a tag, and the first ':' its key:
 * so every ',', and a ':' in the key, becomes '_'. A ':' in the value stays
 * (the Datadog adapter of the Go Observe SDK leaves such a tag out). */
WASMTRACE_HELPER void wasmtrace_span_tag_n(const char *key, size_t key_len, const char *value, size_t value_len) {
  struct wasmtrace_line line;
  if (!WASMTRACE_ON) return;
  line.len = 0;
  wasmtrace_line_add(&line, key, key_len, WASMTRACE_LINE / 2, ",:");
  line.text[line.len++] = ':';
  wasmtrace_line_add(&line, value, value_len, WASMTRACE_LINE, ",");
  wasmtrace_span_tags_n(line.text, line.len);
}
WASMTRACE_HELPER void wasmtrace_span_tag_int_n(const char *key, size_t key_len, int64_t value) {
  struct wasmtrace_line line;
  if (!WASMTRACE_ON) return;
  line.len = 0;
  wasmtrace_line_add_int(&line, value);
  wasmtrace_span_tag_n(key, key_len, line.text, line.len);
}
WASMTRACE_INLINE void wasmtrace_span_tag(const char *key, const char *value) {
  wasmtrace_span_tag_n(key, wasmtrace_length(key), value, wasmtrace_length(value));
}
WASMTRACE_INLINE void wasmtrace_span_tag_int(const char *key, int64_t value) {
  wasmtrace_span_tag_int_n(key, wasmtrace_length(key), value);
}

/* ---- Metrics ---------------------------------------------------------- */

/* One line of statsd as it is, for all that the functions below cannot say:
 * "load:0.75|g", "hits:1|c|@0.1|#page:home". */
WASMTRACE_INLINE void wasmtrace_metric_n(const char *line, size_t len) {
  wasmtrace_api_metric(1, line, (uint32_t)len);
}
WASMTRACE_INLINE void wasmtrace_metric(const char *line) { wasmtrace_metric_n(line, wasmtrace_length(line)); }

/* The line "name:value|type". In the name, ':', '|' and a line end become '_'. */
WASMTRACE_HELPER void wasmtrace_metric_int_n(const char *name, size_t len, int64_t value, const char *type) {
  struct wasmtrace_line line;
  if (!WASMTRACE_ON) return;
  line.len = 0;
  wasmtrace_line_add(&line, name, len, WASMTRACE_LINE - 32, ":|\n");
  line.text[line.len++] = ':';
  wasmtrace_line_add_int(&line, value);
  line.text[line.len++] = '|';
  wasmtrace_line_add(&line, type, wasmtrace_length(type), WASMTRACE_LINE, "");
  wasmtrace_metric_n(line.text, line.len);
}

/* Adds to a counter. */
WASMTRACE_INLINE void wasmtrace_metric_count(const char *name, int64_t by) {
  wasmtrace_metric_int_n(name, wasmtrace_length(name), by, "c");
}
/* Sets a gauge; statsd reads a negative value as a change of it. */
WASMTRACE_INLINE void wasmtrace_metric_gauge(const char *name, int64_t value) {
  wasmtrace_metric_int_n(name, wasmtrace_length(name), value, "g");
}
/* Adds a value to a distribution. */
WASMTRACE_INLINE void wasmtrace_metric_histogram(const char *name, int64_t value) {
  wasmtrace_metric_int_n(name, wasmtrace_length(name), value, "h");
}
/* Adds a duration in milliseconds to a distribution. */
WASMTRACE_INLINE void wasmtrace_metric_timing(const char *name, int64_t milliseconds) {
  wasmtrace_metric_int_n(name, wasmtrace_length(name), milliseconds, "ms");
}

/* ---- Logs ------------------------------------------------------------- */

/* The hosts of the Observe SDK know no WASMTRACE_TRACE; the Rust one traps. */
enum wasmtrace_level {
  WASMTRACE_ERROR = 1,
  WASMTRACE_WARN = 2,
  WASMTRACE_INFO = 3,
  WASMTRACE_DEBUG = 4,
  WASMTRACE_TRACE = 5
};

WASMTRACE_INLINE void wasmtrace_log_n(enum wasmtrace_level level, const char *message, size_t len) {
  wasmtrace_api_log((uint32_t)level, message, (uint32_t)len);
}
WASMTRACE_INLINE void wasmtrace_log(enum wasmtrace_level level, const char *message) {
  wasmtrace_log_n(level, message, wasmtrace_length(message));
}

/* ---- Short names ------------------------------------------------------ */

#ifndef WASMTRACE_NO_SHORT_NAMES
WASMTRACE_INLINE void span_enter(const char *name) { wasmtrace_span_enter(name); }
WASMTRACE_INLINE void span_enter_n(const char *name, size_t len) { wasmtrace_span_enter_n(name, len); }
WASMTRACE_INLINE void span_exit(void) { wasmtrace_span_exit(); }
WASMTRACE_INLINE void span_tag(const char *key, const char *value) { wasmtrace_span_tag(key, value); }
WASMTRACE_INLINE void span_tag_int(const char *key, int64_t value) { wasmtrace_span_tag_int(key, value); }
WASMTRACE_INLINE void span_tags(const char *tags) { wasmtrace_span_tags(tags); }
WASMTRACE_INLINE void metric_statsd(const char *line) { wasmtrace_metric(line); }
WASMTRACE_INLINE void metric_count(const char *name, int64_t by) { wasmtrace_metric_count(name, by); }
WASMTRACE_INLINE void metric_gauge(const char *name, int64_t value) { wasmtrace_metric_gauge(name, value); }
WASMTRACE_INLINE void metric_histogram(const char *name, int64_t value) { wasmtrace_metric_histogram(name, value); }
WASMTRACE_INLINE void metric_timing(const char *name, int64_t ms) { wasmtrace_metric_timing(name, ms); }
WASMTRACE_INLINE void log_write(enum wasmtrace_level level, const char *message) { wasmtrace_log(level, message); }
WASMTRACE_INLINE void log_error(const char *message) { wasmtrace_log(WASMTRACE_ERROR, message); }
WASMTRACE_INLINE void log_warn(const char *message) { wasmtrace_log(WASMTRACE_WARN, message); }
WASMTRACE_INLINE void log_info(const char *message) { wasmtrace_log(WASMTRACE_INFO, message); }
WASMTRACE_INLINE void log_debug(const char *message) { wasmtrace_log(WASMTRACE_DEBUG, message); }
WASMTRACE_INLINE void log_trace(const char *message) { wasmtrace_log(WASMTRACE_TRACE, message); }
#endif

#ifdef __cplusplus
}
#endif

#endif
