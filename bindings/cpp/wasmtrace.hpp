// wasmtrace.hpp: spans, tags, metrics and logs from inside a WebAssembly module.
//
// C++17, on top of ../c/wasmtrace.h (put both on the include path). Works with
// and without exceptions; a no-op anywhere but on wasm, and with WASMTRACE_OFF.
//
//     #include "wasmtrace.hpp"
//
//     bool load(std::string_view path) {
//       wasmtrace::Span span("load");      // closes at every way out of the scope
//       span.tag("path", path);
//       if (path.empty()) { wasmtrace::error("no path"); return false; }
//       wasmtrace::count("files.loaded");
//       return true;
//     }
//
// The short C names (span_enter, log_error…) are left out, unless wasmtrace.h
// was included before.
//
// Licence: MIT OR Apache-2.0
#ifndef WASMTRACE_HPP
#define WASMTRACE_HPP

#if __cplusplus < 201703L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 201703L)
#error "wasmtrace.hpp needs C++17"
#endif

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#ifndef WASMTRACE_NO_SHORT_NAMES
#define WASMTRACE_NO_SHORT_NAMES
#endif
#include "wasmtrace.h"

// Constructors and destructors too leave no function of their own (see
// WASMTRACE_INLINE).
#if defined(__GNUC__)
#define WASMTRACE_METHOD __attribute__((always_inline))
#else
#define WASMTRACE_METHOD
#endif

namespace wasmtrace {

/// One tag of the innermost open span. A ',', and a ':' in the key, becomes '_'.
inline void tag(std::string_view key, std::string_view value) noexcept {
  wasmtrace_span_tag_n(key.data(), key.size(), value.data(), value.size());
}

/// The same for whole numbers, and for bool as `true` or `false`.
template <class T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
inline void tag(std::string_view key, T value) noexcept {
  if constexpr (std::is_same_v<T, bool>)
    tag(key, std::string_view(value ? "true" : "false"));
  else
    wasmtrace_span_tag_int_n(key.data(), key.size(), static_cast<std::int64_t>(value));
}

/// Several tags, ready to send: `key:value,key:value`.
inline void tags(std::string_view text) noexcept { wasmtrace_span_tags_n(text.data(), text.size()); }

/// A span from its construction to `end` or its destruction: a return, a
/// `break`, an exception. The API closes the innermost span, so spans have to
/// end in the reverse order of their beginning, as local variables do. A
/// moved-from span closes nothing: a function may return the span it opened.
class [[nodiscard]] Span {
 public:
  WASMTRACE_METHOD explicit Span(std::string_view name) noexcept { wasmtrace_span_enter_n(name.data(), name.size()); }
  WASMTRACE_METHOD Span(Span&& other) noexcept : open_(std::exchange(other.open_, false)) {}
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  Span& operator=(Span&&) = delete;
  WASMTRACE_METHOD ~Span() { end(); }

  /// Tags the innermost open span: this one, as long as none is open inside it.
  template <class T>
  Span& tag(std::string_view key, T&& value) noexcept {
    wasmtrace::tag(key, std::forward<T>(value));
    return *this;
  }

  /// Closes the span before its scope ends.
  WASMTRACE_METHOD void end() noexcept {
    if (std::exchange(open_, false)) wasmtrace_span_exit();
  }

 private:
  bool open_ = true;
};

/// One line of statsd as it is: `load:0.75|g`.
inline void metric(std::string_view line) noexcept { wasmtrace_metric_n(line.data(), line.size()); }

/// Adds to a counter.
inline void count(std::string_view name, std::int64_t by = 1) noexcept {
  wasmtrace_metric_int_n(name.data(), name.size(), by, "c");
}
/// Sets a gauge; statsd reads a negative value as a change of it.
inline void gauge(std::string_view name, std::int64_t value) noexcept {
  wasmtrace_metric_int_n(name.data(), name.size(), value, "g");
}
/// Adds a value to a distribution.
inline void histogram(std::string_view name, std::int64_t value) noexcept {
  wasmtrace_metric_int_n(name.data(), name.size(), value, "h");
}
/// Adds a duration in milliseconds to a distribution.
inline void timing(std::string_view name, std::int64_t milliseconds) noexcept {
  wasmtrace_metric_int_n(name.data(), name.size(), milliseconds, "ms");
}

/// The hosts of the Observe SDK know no `trace`; the Rust one traps.
enum class Level { error = WASMTRACE_ERROR, warn, info, debug, trace };

inline void log(Level level, std::string_view message) noexcept {
  wasmtrace_log_n(static_cast<wasmtrace_level>(level), message.data(), message.size());
}
inline void error(std::string_view message) noexcept { log(Level::error, message); }
inline void warn(std::string_view message) noexcept { log(Level::warn, message); }
inline void info(std::string_view message) noexcept { log(Level::info, message); }
inline void debug(std::string_view message) noexcept { log(Level::debug, message); }
inline void trace(std::string_view message) noexcept { log(Level::trace, message); }

}  // namespace wasmtrace

#undef WASMTRACE_METHOD

#endif
