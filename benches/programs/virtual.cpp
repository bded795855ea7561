// An interpreter for a small configuration language: many virtual calls between small classes, many small allocations.
// usage: virtual [TIMES]     evaluates the configuration TIMES times as often as by default
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

// Keeps clang from merging the functions into a few large ones.
#define CALL [[gnu::noinline]]

[[noreturn]] CALL static void fail(const char *what, const char *where = "") {
  std::printf("virtual: %s: %.20s\n", what, where);
  std::exit(1);
}

// ---- Values: immutable and reference-counted.

using Symbol = uint32_t;

struct Value {
  uint32_t references = 0;
  virtual ~Value() = default;
  virtual const char *kind() const = 0;
  virtual uint64_t hash() const = 0;
  virtual bool equals(const Value &other) const = 0;
  virtual bool truth() const { return true; }
  virtual int64_t number() const { fail("not a number", kind()); }
  virtual size_t length() const { fail("no length", kind()); }
  virtual bool before(const Value &) const { fail("no order", kind()); }
  virtual void print(std::string &out) const = 0;
  virtual void render(std::string &out, int depth) const = 0; // as JSON
};

CALL static void indent(std::string &out, int depth) {
  out += '\n';
  while (depth--) out += "  ";
}

CALL static void quote(std::string &out, const std::string &text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c < ' ') c = ' ';
    out += c;
  }
  out += '"';
}

CALL static void destroy(Value *value) { delete value; }

// An owning pointer to a value.
class Ref {
  Value *value;

public:
  Ref(Value *value = nullptr) : value(value) {
    if (value) value->references++;
  }
  Ref(const Ref &other) : Ref(other.value) {}
  Ref(Ref &&other) noexcept : value(std::exchange(other.value, nullptr)) {}
  Ref &operator=(Ref other) {
    std::swap(value, other.value);
    return *this;
  }
  ~Ref() {
    if (value && --value->references == 0) destroy(value);
  }
  Value *operator->() const { return value; }
  Value &operator*() const { return *value; }
  explicit operator bool() const { return value; }
};

struct Int final : Value {
  int64_t value;
  explicit Int(int64_t value) : value(value) {}
  const char *kind() const override { return "number"; }
  uint64_t hash() const override { return value * 0x9e3779b97f4a7c15; }
  bool equals(const Value &other) const override { return value == other.number(); }
  bool truth() const override { return value != 0; }
  int64_t number() const override { return value; }
  bool before(const Value &other) const override { return value < other.number(); }
  void render(std::string &out, int) const override { print(out); }
  void print(std::string &out) const override {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%lld", static_cast<long long>(value));
    out += digits;
  }
};

struct Text final : Value {
  std::string text;
  explicit Text(std::string text) : text(std::move(text)) {}
  const char *kind() const override { return "text"; }
  uint64_t hash() const override {
    uint64_t sum = 0xcbf29ce484222325;
    for (unsigned char c : text) sum = (sum ^ c) * 0x100000001b3;
    return sum;
  }
  bool equals(const Value &other) const override {
    return other.kind() == kind() && static_cast<const Text &>(other).text == text;
  }
  bool truth() const override { return !text.empty(); }
  size_t length() const override { return text.size(); }
  bool before(const Value &other) const override {
    return other.kind() == kind() && text < static_cast<const Text &>(other).text;
  }
  void print(std::string &out) const override { out += text; }
  void render(std::string &out, int) const override { quote(out, text); }
};

struct List final : Value {
  std::vector<Ref> items;
  const char *kind() const override { return "list"; }
  uint64_t hash() const override {
    uint64_t sum = items.size();
    for (const Ref &item : items) sum = sum * 31 + item->hash();
    return sum;
  }
  bool equals(const Value &other) const override {
    if (other.kind() != kind() || other.length() != length()) return false;
    for (size_t i = 0; i < items.size(); i++)
      if (!items[i]->equals(*static_cast<const List &>(other).items[i])) return false;
    return true;
  }
  bool truth() const override { return !items.empty(); }
  size_t length() const override { return items.size(); }
  void print(std::string &out) const override {
    for (const Ref &item : items) item->print(out);
  }
  void render(std::string &out, int depth) const override {
    out += '[';
    for (size_t i = 0; i < items.size(); i++) {
      if (i) out += ',';
      indent(out, depth + 1);
      items[i]->render(out, depth + 1);
    }
    indent(out, depth);
    out += ']';
  }
};

// Names are numbered in the order in which they are first seen.
static std::vector<std::string> symbols;

CALL static Symbol intern(const std::string &name) {
  for (Symbol s = 0; s < symbols.size(); s++)
    if (symbols[s] == name) return s;
  symbols.push_back(name);
  return symbols.size() - 1;
}

// Fields, sorted by symbol.
struct Object final : Value {
  std::vector<std::pair<Symbol, Ref>> fields;
  const char *kind() const override { return "object"; }
  CALL const Ref *find(Symbol name) const {
    size_t low = 0, high = fields.size();
    while (low < high) {
      size_t middle = (low + high) / 2;
      if (fields[middle].first < name) low = middle + 1;
      else high = middle;
    }
    return low < fields.size() && fields[low].first == name ? &fields[low].second : nullptr;
  }
  CALL void set(Symbol name, Ref value) {
    size_t at = fields.size();
    while (at > 0 && fields[at - 1].first > name) at--;
    if (at > 0 && fields[at - 1].first == name) fields[at - 1].second = std::move(value);
    else fields.emplace(fields.begin() + at, name, std::move(value));
  }
  uint64_t hash() const override {
    uint64_t sum = 17;
    for (const auto &[name, value] : fields) sum = (sum ^ name) * 0x100000001b3 + value->hash();
    return sum;
  }
  bool equals(const Value &other) const override { return other.kind() == kind() && other.hash() == hash(); }
  size_t length() const override { return fields.size(); }
  void print(std::string &out) const override {
    for (const auto &[name, value] : fields) value->print(out);
  }
  void render(std::string &out, int depth) const override {
    const char *between = "{";
    for (const auto &[name, value] : fields) {
      out += std::exchange(between, ",");
      indent(out, depth + 1);
      quote(out, symbols[name]);
      out += ": ";
      value->render(out, depth + 1);
    }
    indent(out, depth);
    out += '}';
  }
};

// ---- Scopes: one small allocation for each binding.

struct Scope final : Value {
  Symbol name;
  Ref value, outer;
  Scope(Symbol name, Ref value, Ref outer) : name(name), value(std::move(value)), outer(std::move(outer)) {}
  const char *kind() const override { return "scope"; }
  uint64_t hash() const override { return name; }
  bool equals(const Value &other) const override { return this == &other; }
  void print(std::string &) const override {}
  void render(std::string &, int) const override {}
};

CALL static Ref bind(Symbol name, Ref value, const Ref &scope) { return new Scope(name, std::move(value), scope); }

CALL static const Ref &look_up(Symbol name, const Ref &scope) {
  const Ref *at = &scope;
  while (*at) {
    const Scope &here = static_cast<const Scope &>(**at);
    if (here.name == name) return here.value;
    at = &here.outer;
  }
  fail("unbound name");
}

// ---- The tree.

struct Node {
  virtual ~Node() = default;
  virtual Ref eval(const Ref &scope) const = 0;
  // Conditions and arithmetic can do without a boxed value.
  virtual int64_t number(const Ref &scope) const { return eval(scope)->number(); }
  virtual bool truth(const Ref &scope) const { return eval(scope)->truth(); }
};

using Child = Node *; // the tree lives as long as the program

struct Constant final : Node {
  Ref value;
  explicit Constant(Ref value) : value(std::move(value)) {}
  CALL Ref eval(const Ref &) const override { return value; }
  CALL int64_t number(const Ref &) const override { return value->number(); }
};

struct Name final : Node {
  Symbol name;
  explicit Name(Symbol name) : name(name) {}
  CALL Ref eval(const Ref &scope) const override { return look_up(name, scope); }
  CALL int64_t number(const Ref &scope) const override { return look_up(name, scope)->number(); }
};

struct Binary : Node {
  Child left, right;
  Binary(Child left, Child right) : left(left), right(right) {}
};

struct Arithmetic : Binary {
  using Binary::Binary;
  CALL Ref eval(const Ref &scope) const override { return new Int(number(scope)); }
};

struct Add final : Arithmetic {
  using Arithmetic::Arithmetic;
  CALL int64_t number(const Ref &scope) const override { return left->number(scope) + right->number(scope); }
};

struct Subtract final : Arithmetic {
  using Arithmetic::Arithmetic;
  CALL int64_t number(const Ref &scope) const override { return left->number(scope) - right->number(scope); }
};

struct Multiply final : Arithmetic {
  using Arithmetic::Arithmetic;
  CALL int64_t number(const Ref &scope) const override { return left->number(scope) * right->number(scope) & 0xffffff; }
};

struct Remainder final : Arithmetic {
  using Arithmetic::Arithmetic;
  CALL int64_t number(const Ref &scope) const override {
    int64_t by = right->number(scope);
    if (by == 0) fail("division by zero");
    return left->number(scope) % by;
  }
};

struct Divide final : Arithmetic {
  using Arithmetic::Arithmetic;
  CALL int64_t number(const Ref &scope) const override {
    int64_t by = right->number(scope);
    if (by == 0) fail("division by zero");
    return left->number(scope) / by;
  }
};

struct Negate final : Node {
  Child of;
  explicit Negate(Child of) : of(of) {}
  CALL Ref eval(const Ref &scope) const override { return new Int(number(scope)); }
  CALL int64_t number(const Ref &scope) const override { return -of->number(scope); }
};

struct Condition : Binary {
  using Binary::Binary;
  CALL Ref eval(const Ref &scope) const override { return new Int(truth(scope)); }
  CALL int64_t number(const Ref &scope) const override { return truth(scope); }
};

struct Less final : Condition {
  using Condition::Condition;
  CALL bool truth(const Ref &scope) const override { return left->number(scope) < right->number(scope); }
};

struct Equal final : Condition {
  using Condition::Condition;
  CALL bool truth(const Ref &scope) const override { return left->eval(scope)->equals(*right->eval(scope)); }
};

struct And final : Condition {
  using Condition::Condition;
  CALL bool truth(const Ref &scope) const override { return left->truth(scope) && right->truth(scope); }
};

struct Or final : Condition {
  using Condition::Condition;
  CALL bool truth(const Ref &scope) const override { return left->truth(scope) || right->truth(scope); }
};

struct Not final : Node {
  Child of;
  explicit Not(Child of) : of(of) {}
  CALL Ref eval(const Ref &scope) const override { return new Int(truth(scope)); }
  CALL bool truth(const Ref &scope) const override { return !of->truth(scope); }
};

// `"a" ~ 1` is the text "a1".
struct Join final : Binary {
  using Binary::Binary;
  CALL Ref eval(const Ref &scope) const override {
    std::string out;
    left->eval(scope)->print(out);
    right->eval(scope)->print(out);
    return new Text(std::move(out));
  }
};

struct If final : Node {
  Child condition, then, otherwise;
  If(Child condition, Child then, Child otherwise) : condition(condition), then(then), otherwise(otherwise) {}
  CALL Ref eval(const Ref &scope) const override { return (condition->truth(scope) ? then : otherwise)->eval(scope); }
};

struct Let final : Node {
  Symbol name;
  Child value, body;
  Let(Symbol name, Child value, Child body) : name(name), value(value), body(body) {}
  CALL Ref eval(const Ref &scope) const override { return body->eval(bind(name, value->eval(scope), scope)); }
};

struct ListOf final : Node {
  std::vector<Child> items;
  CALL Ref eval(const Ref &scope) const override {
    List *list = new List;
    Ref result(list);
    list->items.reserve(items.size());
    for (Child item : items) list->items.push_back(item->eval(scope));
    return result;
  }
};

struct ObjectOf final : Node {
  std::vector<std::pair<Symbol, Child>> fields;
  CALL Ref eval(const Ref &scope) const override {
    Object *object = new Object;
    Ref result(object);
    for (const auto &[name, value] : fields) object->set(name, value->eval(scope));
    return result;
  }
};

// `object with { … }`: a copy in which some fields are others.
struct With final : Binary {
  using Binary::Binary;
  CALL Ref eval(const Ref &scope) const override {
    Ref base = left->eval(scope), changes = right->eval(scope);
    if (base->kind() != changes->kind()) fail("not an object", base->kind());
    Object *object = new Object(static_cast<const Object &>(*base));
    object->references = 0;
    Ref result(object);
    for (const auto &[name, value] : static_cast<const Object &>(*changes).fields) object->set(name, value);
    return result;
  }
};

struct Field final : Node {
  Child of;
  Symbol name;
  Field(Child of, Symbol name) : of(of), name(name) {}
  CALL Ref eval(const Ref &scope) const override {
    Ref object = of->eval(scope);
    const Ref *value = static_cast<const Object &>(*object).find(name);
    if (!value) fail("no such field");
    return *value;
  }
};

struct Index final : Binary {
  using Binary::Binary;
  CALL Ref eval(const Ref &scope) const override {
    Ref list = left->eval(scope);
    size_t at = right->number(scope);
    if (at >= list->length()) fail("no such item");
    return static_cast<const List &>(*list).items[at];
  }
};

struct Length final : Node {
  Child of;
  explicit Length(Child of) : of(of) {}
  CALL Ref eval(const Ref &scope) const override { return new Int(number(scope)); }
  CALL int64_t number(const Ref &scope) const override { return of->eval(scope)->length(); }
};

// A function with the scope that it was made in.
struct Closure final : Value {
  const std::vector<Symbol> &parameters;
  Child body;
  Ref scope;
  Closure(const std::vector<Symbol> &parameters, Child body, Ref scope)
      : parameters(parameters), body(body), scope(std::move(scope)) {}
  const char *kind() const override { return "function"; }
  uint64_t hash() const override { return parameters.size(); }
  bool equals(const Value &other) const override { return this == &other; }
  void print(std::string &out) const override { out += "function"; }
  void render(std::string &out, int) const override { quote(out, "function"); }
};

struct Function final : Node {
  std::vector<Symbol> parameters;
  Child body = nullptr;
  CALL Ref eval(const Ref &scope) const override { return new Closure(parameters, body, scope); }
};

// The function itself is the first argument, so that it can call itself: there is no other recursion.
struct Call final : Node {
  Child callee;
  std::vector<Child> arguments;
  CALL Ref eval(const Ref &scope) const override {
    Ref called = callee->eval(scope);
    if (std::strcmp(called->kind(), "function")) fail("not a function", called->kind());
    const Closure &closure = static_cast<const Closure &>(*called);
    if (closure.parameters.size() != arguments.size()) fail("wrong number of arguments");
    Ref inner = closure.scope;
    for (size_t i = 0; i < arguments.size(); i++) inner = bind(closure.parameters[i], arguments[i]->eval(scope), inner);
    return closure.body->eval(inner);
  }
};

// `each x in list: body`
struct Each final : Node {
  Symbol name;
  Child over, body;
  Each(Symbol name, Child over, Child body) : name(name), over(over), body(body) {}
  CALL Ref eval(const Ref &scope) const override {
    Ref source = over->eval(scope);
    List *list = new List;
    Ref result(list);
    for (const Ref &item : static_cast<const List &>(*source).items)
      list->items.push_back(body->eval(bind(name, item, scope)));
    return result;
  }
};

// `fold x, sum = first in list: body`
struct Fold final : Node {
  Symbol name, sum;
  Child first, over, body;
  Fold(Symbol name, Symbol sum, Child first, Child over, Child body)
      : name(name), sum(sum), first(first), over(over), body(body) {}
  CALL Ref eval(const Ref &scope) const override {
    Ref result = first->eval(scope), source = over->eval(scope);
    for (const Ref &item : static_cast<const List &>(*source).items)
      result = body->eval(bind(name, item, bind(sum, result, scope)));
    return result;
  }
};

struct Range final : Node {
  Child end;
  explicit Range(Child end) : end(end) {}
  CALL Ref eval(const Ref &scope) const override {
    List *list = new List;
    Ref result(list);
    for (int64_t i = 0, n = end->number(scope); i < n; i++) list->items.push_back(new Int(i));
    return result;
  }
};

struct Hash final : Node {
  Child of;
  explicit Hash(Child of) : of(of) {}
  CALL Ref eval(const Ref &scope) const override { return new Int(of->eval(scope)->hash() & 0xffffff); }
};

struct Render final : Node {
  Child of;
  explicit Render(Child of) : of(of) {}
  CALL Ref eval(const Ref &scope) const override {
    std::string out;
    of->eval(scope)->render(out, 0);
    return new Text(std::move(out));
  }
};

static const Text &text_of(const Ref &value) {
  if (std::strcmp(value->kind(), "text")) fail("not a text", value->kind());
  return static_cast<const Text &>(*value);
}

// `text like "*.example"`
struct Like final : Condition {
  using Condition::Condition;
  CALL static bool matches(const char *text, const char *pattern) {
    const char *star = nullptr, *from = text;
    while (*text) {
      if (*pattern == '*') {
        star = ++pattern;
        from = text;
      } else if (*pattern == *text) pattern++, text++;
      else if (star) {
        pattern = star;
        text = ++from;
      } else return false;
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
  }
  CALL bool truth(const Ref &scope) const override {
    Ref text = left->eval(scope), pattern = right->eval(scope);
    return matches(text_of(text).text.c_str(), text_of(pattern).text.c_str());
  }
};

struct Sort final : Node {
  Child of;
  explicit Sort(Child of) : of(of) {}
  CALL static void merge_sort(Ref *items, Ref *room, size_t length) {
    if (length < 2) return;
    size_t half = length / 2, left = 0, right = half;
    merge_sort(items, room, half);
    merge_sort(items + half, room, length - half);
    for (size_t i = 0; i < length; i++) {
      bool first = right == length || (left < half && !items[right]->before(*items[left]));
      room[i] = std::move(items[first ? left++ : right++]);
    }
    for (size_t i = 0; i < length; i++) items[i] = std::move(room[i]);
  }
  CALL Ref eval(const Ref &scope) const override {
    Ref source = of->eval(scope);
    List *list = new List;
    Ref result(list);
    list->items = static_cast<const List &>(*source).items;
    std::vector<Ref> room(list->items.size());
    merge_sort(list->items.data(), room.data(), room.size());
    return result;
  }
};

// SHA-256 of a text, its first 24 bits.
struct Digest final : Node {
  Child of;
  explicit Digest(Child of) : of(of) {}

  // The first 32 bits of the fractional parts of roots of primes.
  static inline uint32_t start[8], constants[64];
  static uint32_t fraction(double root) { return static_cast<uint32_t>((root - static_cast<int64_t>(root)) * 0x1p32); }
  static void prepare() {
    int found = 0;
    for (int n = 2; found < 64; n++) {
      bool prime = true;
      for (int by = 2; by * by <= n; by++) prime = prime && n % by;
      if (!prime) continue;
      if (found < 8) start[found] = fraction(std::sqrt(n));
      constants[found++] = fraction(std::cbrt(n));
    }
  }

  static uint32_t turn(uint32_t x, int by) { return x >> by | x << (32 - by); }
  CALL static void block(uint32_t (&state)[8], const unsigned char *bytes) {
    uint32_t words[64], s[8];
    for (int i = 0; i < 16; i++, bytes += 4)
      words[i] = uint32_t(bytes[0]) << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
    for (int i = 16; i < 64; i++) {
      uint32_t a = words[i - 15], b = words[i - 2];
      words[i] = words[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3);
      words[i] += words[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
    std::memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
      uint32_t one = s[7] + constants[i] + words[i];
      one += (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6]));
      uint32_t two = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22);
      two += (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
      std::memmove(s + 1, s, 7 * sizeof *s);
      s[4] += one;
      s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
  }
  CALL Ref eval(const Ref &scope) const override {
    std::string text = text_of(of->eval(scope)).text;
    uint64_t bits = text.size() * 8;
    text += '\x80';
    text.resize((text.size() + 8 + 63) / 64 * 64);
    for (int i = 0; i < 8; i++) text[text.size() - 1 - i] = static_cast<char>(bits >> 8 * i);
    uint32_t state[8];
    std::memcpy(state, start, sizeof state);
    for (size_t at = 0; at < text.size(); at += 64) block(state, reinterpret_cast<const unsigned char *>(&text[at]));
    return new Int(state[0] >> 8);
  }
};

// ---- The parser: recursive descent, straight from the text.

class Parser {
  const char *at;

  CALL void skip() {
    for (;; at++) {
      if (*at == '#') at += std::strcspn(at, "\n");
      if (!*at || !std::strchr(" \n", *at)) return;
    }
  }

  static bool letter(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }

  CALL bool take(const char *token) {
    size_t length = std::strlen(token);
    if (std::strncmp(at, token, length) || (letter(*token) && letter(at[length]))) return false;
    at += length;
    skip();
    return true;
  }

  void want(const char *token) {
    if (!take(token)) fail(token, at);
  }

  CALL Symbol symbol() {
    size_t length = 0;
    while (letter(at[length])) length++;
    if (!length) fail("a name is missing", at);
    std::string name(at, length);
    at += length;
    skip();
    return intern(name);
  }

  CALL Child primary() {
    if (*at >= '0' && *at <= '9') {
      char *end;
      int64_t value = std::strtoll(at, &end, 10);
      at = end;
      skip();
      return new Constant(new Int(value));
    }
    if (*at == '"') {
      const char *end = std::strchr(at + 1, '"');
      if (!end) fail("a quote is missing", at);
      Child node = new Constant(new Text(std::string(at + 1, end)));
      at = end + 1;
      skip();
      return node;
    }
    if (take("(")) {
      Child inner = expression();
      want(")");
      return inner;
    }
    if (take("[")) {
      ListOf *list = new ListOf;
      while (!take("]")) {
        list->items.push_back(expression());
        take(",");
      }
      return list;
    }
    if (take("{")) {
      ObjectOf *object = new ObjectOf;
      while (!take("}")) {
        Symbol name = symbol();
        want("=");
        object->fields.emplace_back(name, expression());
        take(",");
      }
      return object;
    }
    if (take("len")) return new Length(primary());
    if (take("range")) return new Range(primary());
    if (take("hash")) return new Hash(primary());
    if (take("sort")) return new Sort(primary());
    if (take("json")) return new Render(primary());
    if (take("digest")) return new Digest(primary());
    return new Name(symbol());
  }

  CALL Child postfix() {
    Child node = primary();
    for (;;) {
      if (take(".")) node = new Field(node, symbol());
      else if (take("[")) {
        node = new Index(node, expression());
        want("]");
      } else if (take("(")) {
        Call *call = new Call;
        call->callee = node;
        while (!take(")")) {
          call->arguments.push_back(expression());
          take(",");
        }
        node = call;
      } else return node;
    }
  }

  CALL Child unary() {
    if (take("-")) return new Negate(unary());
    if (take("not")) return new Not(unary());
    return postfix();
  }

  CALL Child product() {
    Child left = unary();
    for (;;) {
      if (take("*")) left = new Multiply(left, unary());
      else if (take("/")) left = new Divide(left, unary());
      else if (take("%")) left = new Remainder(left, unary());
      else return left;
    }
  }

  CALL Child sum() {
    Child left = product();
    for (;;) {
      if (take("+")) left = new Add(left, product());
      else if (take("-")) left = new Subtract(left, product());
      else if (take("~")) left = new Join(left, product());
      else return left;
    }
  }

  CALL Child comparison() {
    Child left = sum();
    if (take("<")) return new Less(left, sum());
    if (take("==")) return new Equal(left, sum());
    if (take("like")) return new Like(left, sum());
    if (take("with")) return new With(left, sum());
    return left;
  }

  CALL Child logic() {
    Child left = comparison();
    for (;;) {
      if (take("and")) left = new And(left, comparison());
      else if (take("or")) left = new Or(left, comparison());
      else return left;
    }
  }

  CALL Child expression() {
    if (take("let")) {
      Symbol name = symbol();
      want("=");
      Child value = expression();
      want(";");
      return new Let(name, value, expression());
    }
    if (take("if")) {
      Child condition = expression();
      want("then");
      Child then = expression();
      want("else");
      return new If(condition, then, expression());
    }
    if (take("fn")) {
      Function *function = new Function;
      want("(");
      while (!take(")")) {
        function->parameters.push_back(symbol());
        take(",");
      }
      function->body = expression();
      return function;
    }
    if (take("each")) {
      Symbol name = symbol();
      want("in");
      Child over = expression();
      want(":");
      return new Each(name, over, expression());
    }
    if (take("fold")) {
      Symbol name = symbol();
      want(",");
      Symbol sum = symbol();
      want("=");
      Child first = expression();
      want("in");
      Child over = expression();
      want(":");
      return new Fold(name, sum, first, over, expression());
    }
    return logic();
  }

public:
  explicit Parser(const char *text) : at(text) { skip(); }
  CALL Child all() {
    Child tree = expression();
    if (*at) fail("the end was expected", at);
    return tree;
  }
};

static const char configuration[] = R"(
# Sixty services in four regions, with defaults, overrides, ports and a dependency each.
let regions = ["north", "east", "south", "west"];
let defaults = { replicas = 2, memory = 256, port = 0, region = "none", public = 0, weight = 1 };
let digits = fn(self, n) if n < 10 then n else n % 10 + self(self, n / 10);
let choose = fn(list, n) list[n % len list];
let scale = fn(service, by) service with { memory = service.memory * by % 4096, weight = service.weight + by };
let make = fn(i)
  let own = { port = 8000 + i, region = choose(regions, i + round), replicas = 1 + i % 5 };
  let service = defaults with own;
  if i % 3 == 0 then scale(service, 2 + i % 4)
  else if i % 7 == 0 or i % 11 == 0 then service with { public = 1, memory = 128 + i % 64 * 4 }
  else service;
let services = each i in range 60: make(i);

# Each port belongs to one service; each service needs memory.
let clash = fold s, found = 0 in services: found + (if s.port % 97 == 13 and not s.public == 1 then 1 else 0);
let memory = fold s, sum = 0 in services: sum + s.memory * s.replicas;
let in_region = fn(name) fold s, n = 0 in services: (if s.region == name then n + s.weight else n);
let per_region = each name in regions: { name = name ~ "-" ~ round, weight = in_region(name) };

# A greatest common divisor and a digit sum for each pair: recursion.
let divisor = fn(self, a, b) if b == 0 then a else self(self, b, a % b);
let pairs = fold i, sum = 0 in range 60: fold j, inner = sum in range 3:
  (inner + divisor(divisor, 100 + i, 12 + j * 9) + digits(digits, i * 37 + j)) % 65521;

# Text: names of hosts, which patterns they match, what changes when a service does.
let hosts = each s in services: "host" ~ s.port ~ "." ~ s.region ~ (if s.public == 1 then ".example" else ".internal");
let tags = each s in services: digest json { service = s, round = round, tag = digest json [s, defaults] };
let patterns = ["*1*.north.*", "host80*5*", "*e*t*nal", "*.s*h.example", "host*0*.east.in*", "*7*7*", "*.example",
  "*o*o*o*x", "*a*n*", "*8*1*.west.*", "*t*t*t*t*", "*.n*n*n*n", "h*o*s*t*5*.*", "*5*.*l*", "*e*e*e*e", "*0*0*0*"];
let chosen = fold p, sum = 0 in patterns: fold h, inner = sum in hosts: (if h like p then inner + len h else inner);
let longest = fold h, most = 0 in hosts: (if most < len h then len h else most);

{ memory = memory, clash = clash, pairs = pairs, chosen = chosen, first = (sort hosts)[round % 60], longest = longest,
  document = digest json { services = services, hosts = sort hosts, regions = per_region, tags = tags },
  regions = hash per_region, hosts = hash hosts, negative = -(memory - pairs) }
)";

int main(int argc, char **argv) {
  int times = argc > 1 ? std::atoi(argv[1]) : 1;
  Digest::prepare();
  Parser parser(configuration);
  Symbol round = intern("round");
  Child tree = parser.all();
  uint64_t sum = 0;
  std::string last;
  for (int i = 0; i < 150 * times; i++) {
    Ref result = tree->eval(bind(round, new Int(i), Ref()));
    sum = sum * 31 + result->hash();
    last.clear();
    result->render(last, 0);
  }
  std::printf("%s\nvirtual %016llx\n", last.c_str(), static_cast<unsigned long long>(sum));
}
