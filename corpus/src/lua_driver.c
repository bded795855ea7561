// Lua in one program: runs the script on stdin when the first argument is "-",
// else a built in one. The interpreter is called through its C interface, with
// one C function given to the script.
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static const char builtin[] =
  "local function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end\n"
  "print('fib', fib(21))\n"
  "local t, s = {}, 12345\n"
  "for i = 1, 3000 do s = (s * 1103515245 + 12345) % 2147483648; t[i] = s % 1000 end\n"
  "table.sort(t, function(a, b) return a > b end)\n"
  "print('sort', t[1], t[1500], t[3000])\n"
  "local parts = {}\n"
  "for w in ('the quick brown fox jumps over the lazy dog'):gmatch('%a+') do\n"
  "  parts[#parts+1] = w:sub(1,1):upper() .. w:sub(2)\n"
  "end\n"
  "print(table.concat(parts, ' '))\n"
  "local Point = {}; Point.__index = Point\n"
  "Point.__add = function(a, b) return setmetatable({x=a.x+b.x, y=a.y+b.y}, Point) end\n"
  "Point.__tostring = function(p) return string.format('(%d,%d)', p.x, p.y) end\n"
  "local p = setmetatable({x=0, y=0}, Point)\n"
  "for i = 1, 2000 do p = p + setmetatable({x=i, y=-i}, Point) end\n"
  "print(tostring(p))\n"
  "local co = coroutine.wrap(function() for i = 1, 4 do coroutine.yield(i * i) end end)\n"
  "print(co(), co(), co(), co())\n"
  "print(pcall(function() local function deep(n) if n == 0 then error('bottom', 0) end return 1 + deep(n-1) end return deep(30) end))\n"
  "local ok, e = pcall(function() return nil + 1 end); print(ok, e)\n"
  "print(select(2, pcall(host.twice, 'x')))\n"
  "print(host.twice(21), host.apply(function(x) return x .. '!' end, 'called back'))\n";

// In place of libc's: the same seed in every run, and no clock import.
time_t time(time_t *t) {
  if (t) *t = 0;
  return 0;
}

static int twice(lua_State *L) {
  lua_pushinteger(L, 2 * luaL_checkinteger(L, 1));
  return 1;
}

static int apply(lua_State *L) { // a script function called back from C
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_call(L, 1, 1);
  return 1;
}

static const luaL_Reg host[] = {{"twice", twice}, {"apply", apply}, {NULL, NULL}};

static const luaL_Reg libraries[] = {
  {LUA_GNAME, luaopen_base}, {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
  {LUA_MATHLIBNAME, luaopen_math}, {LUA_COLIBNAME, luaopen_coroutine}, {NULL, NULL},
};

int main(int argc, char **argv) {
  static char text[1 << 16];
  const char *script = builtin;
  size_t n = sizeof builtin - 1;
  if (argc > 1 && !strcmp(argv[1], "-")) {
    n = fread(text, 1, sizeof text, stdin);
    script = text;
  }
  lua_State *L = luaL_newstate();
  if (!L) return 70;
  for (const luaL_Reg *r = libraries; r->func; r++) {
    luaL_requiref(L, r->name, r->func, 1);
    lua_pop(L, 1);
  }
  luaL_newlib(L, host);
  lua_setglobal(L, "host");
  int status = luaL_loadbuffer(L, script, n, "=script");
  if (status == LUA_OK) status = lua_pcall(L, 0, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "error: %s\n", lua_tostring(L, -1));
  lua_close(L);
  return status != LUA_OK;
}
