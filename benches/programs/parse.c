// An editor's parser: a table-driven lexer, an SLR(1) parser whose tables are made at the start, and a tree of counted
// nodes. After each edit the text is parsed again, and the subtrees that the edit did not touch are used again.
// usage: parse [TIMES]     makes TIMES times as many edits as by default
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Keeps clang from merging the functions into a few large ones.
#define CALL __attribute__((noinline))

CALL static _Noreturn void fail(const char *what) {
  printf("parse: %s\n", what);
  exit(1);
}

static void *allocate(size_t size) {
  void *memory = malloc(size);
  if (!memory) fail("out of memory");
  return memory;
}

// ---- The grammar: terminals first, then nonterminals. No rule is empty, so that each node has a first token.

enum {
  END, NAME, NUMBER, STRING, LET, FN, IF, ELSE, WHILE, RETURN, SEMICOLON, COMMA, OPEN, CLOSE, BEGIN, FINISH, ASSIGN,
  EQUAL, LESS, PLUS, MINUS, TIMES, OVER, DOT, ERROR, TERMINALS,
  FILE_ = TERMINALS, ITEMS, ITEM, PARAMETERS, BLOCK, STATEMENTS, STATEMENT, EXPRESSION, COMPARISON, SUM, PRODUCT, UNARY,
  POSTFIX, PRIMARY, ARGUMENTS, SYMBOLS
};

typedef struct {
  uint8_t left, length, right[7];
} Rule;

static const Rule rules[] = {
  {FILE_, 1, {ITEMS}}, // must be the first
  {ITEMS, 2, {ITEMS, ITEM}},
  {ITEMS, 1, {ITEM}},
  {ITEM, 6, {FN, NAME, OPEN, PARAMETERS, CLOSE, BLOCK}},
  {ITEM, 5, {FN, NAME, OPEN, CLOSE, BLOCK}},
  {ITEM, 1, {STATEMENT}},
  {PARAMETERS, 3, {PARAMETERS, COMMA, NAME}},
  {PARAMETERS, 1, {NAME}},
  {BLOCK, 3, {BEGIN, STATEMENTS, FINISH}},
  {BLOCK, 2, {BEGIN, FINISH}},
  {STATEMENTS, 2, {STATEMENTS, STATEMENT}},
  {STATEMENTS, 1, {STATEMENT}},
  {STATEMENT, 5, {LET, NAME, ASSIGN, EXPRESSION, SEMICOLON}},
  {STATEMENT, 2, {EXPRESSION, SEMICOLON}},
  {STATEMENT, 5, {IF, EXPRESSION, BLOCK, ELSE, BLOCK}},
  {STATEMENT, 3, {IF, EXPRESSION, BLOCK}},
  {STATEMENT, 3, {WHILE, EXPRESSION, BLOCK}},
  {STATEMENT, 3, {RETURN, EXPRESSION, SEMICOLON}},
  {EXPRESSION, 3, {POSTFIX, ASSIGN, EXPRESSION}},
  {EXPRESSION, 1, {COMPARISON}},
  {COMPARISON, 3, {COMPARISON, EQUAL, SUM}},
  {COMPARISON, 3, {COMPARISON, LESS, SUM}},
  {COMPARISON, 1, {SUM}},
  {SUM, 3, {SUM, PLUS, PRODUCT}},
  {SUM, 3, {SUM, MINUS, PRODUCT}},
  {SUM, 1, {PRODUCT}},
  {PRODUCT, 3, {PRODUCT, TIMES, UNARY}},
  {PRODUCT, 3, {PRODUCT, OVER, UNARY}},
  {PRODUCT, 1, {UNARY}},
  {UNARY, 2, {MINUS, UNARY}},
  {UNARY, 1, {POSTFIX}},
  {POSTFIX, 4, {POSTFIX, OPEN, ARGUMENTS, CLOSE}},
  {POSTFIX, 3, {POSTFIX, OPEN, CLOSE}},
  {POSTFIX, 3, {POSTFIX, DOT, NAME}},
  {POSTFIX, 1, {PRIMARY}},
  {PRIMARY, 1, {NAME}},
  {PRIMARY, 1, {NUMBER}},
  {PRIMARY, 1, {STRING}},
  {PRIMARY, 3, {OPEN, EXPRESSION, CLOSE}},
  {ARGUMENTS, 3, {ARGUMENTS, COMMA, EXPRESSION}},
  {ARGUMENTS, 1, {EXPRESSION}},
};
enum { RULES = sizeof rules / sizeof *rules, STATES = 160, ITEMS_OF_STATE = 80 };

// ---- Tables of the parser: the sets of LR(0) items, and which terminals may follow a nonterminal.

typedef struct {
  uint8_t rule, dot;
} Position;

typedef struct {
  int length, kernel; // the first `kernel` say which state it is
  Position items[ITEMS_OF_STATE];
} State;

static State states[STATES];
static int state_count;
static int16_t next_state[STATES][SYMBOLS]; // -1: none
static int16_t reduction[STATES][TERMINALS]; // a rule, or -1
static uint32_t first[SYMBOLS], follow[SYMBOLS]; // sets of terminals

CALL static void find_sets(void) {
  for (int t = 0; t < TERMINALS; t++) first[t] = 1u << t;
  follow[FILE_] = 1u << END;
  for (bool changed = true; changed;) {
    changed = false;
    for (int r = 0; r < RULES; r++) {
      const Rule *rule = &rules[r];
      uint32_t set = first[rule->right[0]], behind = follow[rule->left];
      changed |= (set & ~first[rule->left]) != 0;
      first[rule->left] |= set;
      for (int i = rule->length; i-- > 0; behind = first[rule->right[i]]) {
        changed |= (behind & ~follow[rule->right[i]]) != 0;
        follow[rule->right[i]] |= behind;
      }
    }
  }
}

CALL static void add_position(State *state, Position position) {
  for (int i = 0; i < state->length; i++)
    if (state->items[i].rule == position.rule && state->items[i].dot == position.dot) return;
  if (state->length == ITEMS_OF_STATE) fail("a state has too many items");
  state->items[state->length++] = position;
}

CALL static void close_state(State *state) {
  state->kernel = state->length;
  for (int i = 0; i < state->length; i++) {
    Position at = state->items[i];
    if (at.dot == rules[at.rule].length) continue;
    int symbol = rules[at.rule].right[at.dot];
    for (int r = 0; r < RULES; r++)
      if (rules[r].left == symbol) add_position(state, (Position){r, 0});
  }
}

CALL static int state_of(const State *wanted) {
  for (int s = 0; s < state_count; s++)
    if (states[s].kernel == wanted->kernel &&
        !memcmp(states[s].items, wanted->items, wanted->kernel * sizeof *wanted->items))
      return s;
  if (state_count == STATES) fail("too many states");
  states[state_count] = *wanted;
  return state_count++;
}

CALL static void make_tables(void) {
  find_sets();
  State start = {.length = 1, .items = {{0, 0}}};
  close_state(&start);
  state_of(&start);
  for (int s = 0; s < state_count; s++) {
    memset(reduction[s], -1, sizeof reduction[s]);
    for (int symbol = 0; symbol < SYMBOLS; symbol++) {
      State next = {0};
      for (int i = 0; i < states[s].length; i++) {
        Position at = states[s].items[i];
        if (at.dot < rules[at.rule].length && rules[at.rule].right[at.dot] == symbol)
          add_position(&next, (Position){at.rule, at.dot + 1});
      }
      next_state[s][symbol] = -1;
      if (!next.length) continue;
      close_state(&next);
      next_state[s][symbol] = state_of(&next);
    }
    for (int i = 0; i < states[s].length; i++) {
      Position at = states[s].items[i];
      if (at.dot < rules[at.rule].length) continue;
      for (int t = 0; t < TERMINALS; t++) {
        if (!(follow[rules[at.rule].left] >> t & 1)) continue;
        if (next_state[s][t] >= 0 || reduction[s][t] >= 0) fail("the grammar is ambiguous");
        reduction[s][t] = at.rule;
      }
    }
  }
}

// ---- Tables of the lexer: classes of bytes, and states in which a token has begun.

enum { C_OTHER, C_SPACE, C_LETTER, C_DIGIT, C_QUOTE, C_EQUAL, C_SIGN, C_NEWLINE, C_HASH, CLASSES };
enum { L_START, L_NAME, L_NUMBER, L_STRING, L_CLOSED, L_ASSIGN, L_EQUAL, L_SIGN, L_STATES, L_STOP = L_STATES };

static uint8_t class_of[256], lexer[L_STATES][CLASSES], sign_of[256];

CALL static void make_lexer(void) {
  for (const char *c = " \t\r"; *c; c++) class_of[(uint8_t)*c] = C_SPACE;
  for (int c = 'a'; c <= 'z'; c++) class_of[c] = class_of[c - 'a' + 'A'] = C_LETTER;
  for (int c = '0'; c <= '9'; c++) class_of[c] = C_DIGIT;
  class_of['_'] = C_LETTER, class_of['"'] = C_QUOTE, class_of['='] = C_EQUAL;
  class_of['\n'] = C_NEWLINE, class_of['#'] = C_HASH;
  static const struct { char sign; uint8_t token; } signs[] = {
    {';', SEMICOLON}, {',', COMMA}, {'(', OPEN}, {')', CLOSE}, {'{', BEGIN}, {'}', FINISH}, {'<', LESS}, {'+', PLUS},
    {'-', MINUS}, {'*', TIMES}, {'/', OVER}, {'.', DOT},
  };
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
    class_of[(uint8_t)signs[i].sign] = C_SIGN;
    sign_of[(uint8_t)signs[i].sign] = signs[i].token;
  }
  memset(lexer, L_STOP, sizeof lexer);
  static const uint8_t steps[][3] = {
    {L_START, C_LETTER, L_NAME}, {L_START, C_DIGIT, L_NUMBER}, {L_START, C_QUOTE, L_STRING},
    {L_START, C_EQUAL, L_ASSIGN}, {L_START, C_SIGN, L_SIGN}, {L_NAME, C_LETTER, L_NAME}, {L_NAME, C_DIGIT, L_NAME},
    {L_NUMBER, C_DIGIT, L_NUMBER}, {L_STRING, C_QUOTE, L_CLOSED}, {L_ASSIGN, C_EQUAL, L_EQUAL},
  };
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) lexer[steps[i][0]][steps[i][1]] = steps[i][2];
  for (int c = 0; c < CLASSES; c++)
    if (c != C_QUOTE && c != C_NEWLINE) lexer[L_STRING][c] = L_STRING;
}

// ---- The tree. Nodes have sizes but no positions, so that an edit changes only what is above it.

typedef struct Node Node;
struct Node {
  uint32_t references;
  uint32_t size, padding; // in bytes; the size is with the padding: spaces and comments before the first token
  uint32_t reach; // how many bytes from its beginning the parser had read when it made this
  int16_t state; // of the parser, before this
  uint8_t symbol, children;
  bool changed;
  Node *child[];
};

static uint64_t made, reused, lexed; // for the last line

static Node *retain(Node *node) {
  node->references++;
  return node;
}

// Nodes that are free, by their number of children; the first child is the next one.
static Node *pool[8];

CALL static void recycle(Node *node);
static void release(Node *node) {
  if (--node->references == 0) recycle(node);
}

CALL static void recycle(Node *node) {
  for (int i = 0; i < node->children; i++) release(node->child[i]);
  node->child[0] = pool[node->children];
  pool[node->children] = node;
}

CALL static Node *new_node(int symbol, int state, int children) {
  Node *node = pool[children];
  if (node) pool[children] = node->child[0];
  else node = allocate(sizeof *node + (children ? children : 1) * sizeof *node->child);
  *node = (Node){.references = 1, .state = state, .symbol = symbol, .children = children};
  made++;
  return node;
}

CALL static uint64_t hash_tree(const Node *node) {
  uint64_t sum = node->symbol * 31 + node->padding;
  for (int i = 0; i < node->children; i++) {
    const Node *child = node->child[i];
    uint64_t part = child->children ? hash_tree(child) : child->symbol * 31 + child->size;
    sum = (sum ^ part) * 0x100000001b3;
  }
  return sum;
}

// ---- The text, and what reads it.

static char *text;
static uint32_t text_length;

typedef struct {
  uint32_t at;
  uint8_t class;
} Reader;

static void peek(Reader *reader) {
  reader->class = reader->at < text_length ? class_of[(uint8_t)text[reader->at]] : C_NEWLINE;
}

static void advance(Reader *reader) {
  reader->at++;
  peek(reader);
}

CALL static void skip_spaces(Reader *reader) {
  for (;;) {
    if (reader->at >= text_length) return;
    if (reader->class == C_SPACE || reader->class == C_NEWLINE) advance(reader);
    else if (reader->class == C_HASH)
      while (reader->at < text_length && reader->class != C_NEWLINE) advance(reader);
    else return;
  }
}

CALL static int keyword(const char *name, size_t length) {
  static const struct { const char *name; int token; } keywords[] = {
    {"let", LET}, {"fn", FN}, {"if", IF}, {"else", ELSE}, {"while", WHILE}, {"return", RETURN},
  };
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (strlen(keywords[i].name) == length && !memcmp(name, keywords[i].name, length)) return keywords[i].token;
  return NAME;
}

CALL static Node *lex(uint32_t from, int state) {
  Reader reader = {.at = from};
  peek(&reader);
  skip_spaces(&reader);
  uint32_t begin = reader.at;
  int now = L_START, symbol = END;
  while (reader.at < text_length && lexer[now][reader.class] != L_STOP) {
    now = lexer[now][reader.class];
    advance(&reader);
  }
  switch (now) {
    case L_START: symbol = begin < text_length ? ERROR : END; break;
    case L_NAME: symbol = keyword(text + begin, reader.at - begin); break;
    case L_NUMBER: symbol = NUMBER; break;
    case L_CLOSED: symbol = STRING; break;
    case L_ASSIGN: symbol = ASSIGN; break;
    case L_EQUAL: symbol = EQUAL; break;
    case L_SIGN: symbol = sign_of[(uint8_t)text[begin]]; break;
    default: symbol = ERROR;
  }
  Node *token = new_node(symbol, state, 0);
  token->padding = begin - from;
  token->size = reader.at - from;
  token->reach = token->size + 1; // the byte behind it ended it
  lexed++;
  return token;
}

// ---- Where the parser is in the tree of the text before the edit.

enum { DEPTH = 1024 };

typedef struct {
  Node *nodes[DEPTH]; // the last one is next; those before it are what it is in
  uint8_t index[DEPTH]; // which child of the one before it
  int depth; // 0: at the end
  uint32_t at;
} Cursor;

CALL static void cursor_next(Cursor *cursor) {
  cursor->at += cursor->nodes[cursor->depth - 1]->size;
  while (--cursor->depth > 0) {
    Node *parent = cursor->nodes[cursor->depth - 1];
    int next = cursor->index[cursor->depth] + 1;
    if (next < parent->children) {
      cursor->nodes[cursor->depth] = parent->child[next];
      cursor->index[cursor->depth++] = next;
      return;
    }
  }
}

static bool cursor_enter(Cursor *cursor) {
  Node *node = cursor->nodes[cursor->depth - 1];
  if (!node->children) return false;
  if (cursor->depth == DEPTH) fail("the tree is too deep");
  cursor->nodes[cursor->depth] = node->child[0];
  cursor->index[cursor->depth++] = 0;
  return true;
}

// The largest subtree at `at` that the edit did not touch, or NULL.
CALL static Node *untouched(Cursor *cursor, uint32_t at) {
  while (cursor->depth > 0 && cursor->at <= at) {
    Node *node = cursor->nodes[cursor->depth - 1];
    if (cursor->at == at && !node->changed) return node;
    if (cursor->at + node->size <= at || !cursor_enter(cursor)) cursor_next(cursor);
  }
  return NULL;
}

static const Node *first_token(const Node *node) {
  while (node->children) node = node->child[0];
  return node;
}

// Whether it can be used in `state`: of what is no token, the inside depends on the state before it.
static bool fits(const Node *node, int state) {
  return next_state[state][node->symbol] >= 0 && (!node->children || node->state == state);
}

// ---- The parser.

static struct {
  Node *nodes[DEPTH];
  int16_t states[DEPTH];
  int depth; // of nodes; there is one more state
} stack;

static void push(Node *node) {
  int to = next_state[stack.states[stack.depth]][node->symbol];
  if (to < 0) fail("no such transition");
  if (stack.depth == DEPTH - 1) fail("the stack is full");
  stack.nodes[stack.depth++] = node;
  stack.states[stack.depth] = to;
}

// `ahead` bytes behind its end were read to know that it ends.
static void summarize(Node *node, uint32_t ahead) {
  uint32_t reach = 0;
  for (int i = 0; i < node->children; i++) {
    Node *child = node->child[i];
    if (node->size + child->reach > reach) reach = node->size + child->reach;
    node->size += child->size;
  }
  if (node->children) node->padding = node->child[0]->padding;
  node->reach = node->size + ahead > reach ? node->size + ahead : reach;
}

CALL static void reduce(int rule, uint32_t ahead) {
  int length = rules[rule].length;
  stack.depth -= length;
  Node *node = new_node(rules[rule].left, stack.states[stack.depth], length);
  for (int i = 0; i < length; i++) node->child[i] = stack.nodes[stack.depth + i];
  summarize(node, ahead);
  push(node);
}

// Uses the largest part at the beginning of `node` that can be used in this state, if there is one.
CALL static bool use_again(Cursor *cursor, Node *node) {
  int state = stack.states[stack.depth], down = 0;
  for (; !fits(node, state); down++) {
    if (!node->children) return false;
    node = node->child[0];
  }
  while (down-- > 0) cursor_enter(cursor);
  push(retain(node));
  reused++;
  cursor_next(cursor);
  return true;
}

CALL static Node *accept(Node *items, Node *end) {
  Node *root = new_node(FILE_, 0, 2);
  root->child[0] = items;
  root->child[1] = end;
  summarize(root, 0);
  return root;
}

// Takes the tree of the text before the edit, if there is one.
CALL static Node *parse(Node *old) {
  Cursor cursor = {.depth = old != NULL};
  cursor.nodes[0] = old;
  stack.depth = 0;
  uint32_t at = 0;
  Node *token = NULL, *root = NULL;
  while (!root) {
    int state = stack.states[stack.depth];
    Node *again = token ? NULL : untouched(&cursor, at);
    if (again && use_again(&cursor, again)) {
      at += stack.nodes[stack.depth - 1]->size;
      continue;
    }
    if (!again && !token) token = lex(at, state);
    const Node *ahead = again ? first_token(again) : token;
    int rule = reduction[state][ahead->symbol];
    if (rule > 0) reduce(rule, ahead->reach);
    else if (rule == 0) root = accept(stack.nodes[0], token ? token : retain(again));
    else if (token && fits(token, state)) {
      push(token);
      at += token->size;
      token = NULL;
    } else fail("syntax error");
  }
  if (old) release(old);
  return root;
}

// ---- Edits.

typedef struct {
  uint32_t at, removed, inserted;
} Edit;

// Marks what was read from bytes that the edit changes, and gives it its new size; `start` is where it began before. An
// edit has a tree to itself, so that nodes can be changed.
CALL static void mark(Node *node, uint32_t start, const Edit *edit) {
  uint32_t end = edit->at + edit->removed;
  if (start + node->reach <= edit->at || start >= end) return;
  node->changed = true;
  if (!node->children) {
    uint32_t from = start > edit->at ? start : edit->at, to = start + node->size < end ? start + node->size : end;
    if (from < to) node->size -= to - from;
    if (from < to && from == edit->at) node->size += edit->inserted;
    return;
  }
  uint32_t size = 0;
  for (int i = 0; i < node->children; i++) {
    Node *child = node->child[i];
    uint32_t child_start = start;
    start += child->size;
    mark(child, child_start, edit);
    size += child->size;
  }
  node->size = size;
}

// At least one byte is removed.
CALL static Node *edit(Node *tree, uint32_t at, uint32_t removed, const char *with) {
  uint32_t inserted = strlen(with);
  mark(tree, 0, &(Edit){at, removed, inserted});
  memmove(text + at + inserted, text + at + removed, text_length - at - removed);
  memcpy(text + at, with, inserted);
  text_length += inserted - removed;
  return parse(tree);
}

static uint32_t seed = 7;
CALL static uint32_t random_below(uint32_t limit) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % limit;
}

// A byte that belongs to a number: edits are typed there.
CALL static uint32_t find_number(void) {
  uint32_t at = random_below(text_length);
  for (;; at = at + 1 < text_length ? at + 1 : 0)
    if (class_of[(uint8_t)text[at]] == C_DIGIT && class_of[(uint8_t)text[at - 1]] == C_SPACE) return at;
}

CALL static void write_program(int functions) {
  static const char template[] =
    "# Function %d of the program, which nobody calls.\n"
    "fn area_%d(width, height, depth) {\n"
    "  let sum = width * %d + (height - %d) * depth;\n"
    "  while sum < %d {\n"
    "    if sum == %d { sum = sum + 1; trace(\"step\", sum, width.left - 2); } else { sum = sum * 2 / 3 + %d; }\n"
    "  }\n"
    "  return max(sum, limit.of(width, 42), -%d * (depth + sum.size()));\n"
    "}\n"
    "let value_%d = area_%d( %d, 20, 3) + %d;\n";
  text = allocate(functions * 600 + 4096);
  for (int i = 0; i < functions; i++)
    text_length +=
      sprintf(text + text_length, template, i, i, i % 9, i % 31, i * 7, i % 13, i % 5, i % 17, i, i, i, i % 3);
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  make_tables();
  make_lexer();
  write_program(60);
  Node *tree = parse(NULL);
  uint64_t sum = hash_tree(tree);
  // What somebody types in place of a number, and takes back: it is valid in between.
  static const char *typed[] = {"1", "12", "12 ", "12 *", "12 * x", "12 * xy", "12 * f(xy, 3)", "(12 * f(xy, 3))"};
  for (int i = 0; i < 220 * times; i++) {
    uint32_t at = find_number(), length = 0;
    while (class_of[(uint8_t)text[at + length]] == C_DIGIT) length++;
    for (size_t step = 0; step < sizeof typed / sizeof *typed; step++) {
      if (typed[step][strlen(typed[step]) - 1] == '*') continue;
      tree = edit(tree, at, length, typed[step]);
      length = strlen(typed[step]);
    }
    tree = edit(tree, at, length, "77");
    if (i % 10 == 9) {
      // From the beginning the same tree comes out.
      Node *whole = parse(NULL);
      if (hash_tree(whole) != hash_tree(tree)) fail("the trees differ");
      release(whole);
      sum = sum * 31 + hash_tree(tree);
    }
  }
  release(tree);
  printf("parse %d states, %llu nodes, %llu tokens, %llu subtrees used again, %016llx\n", state_count,
         (unsigned long long)made, (unsigned long long)lexed, (unsigned long long)reused, (unsigned long long)sum);
}
