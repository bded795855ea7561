// The Lua interpreter, and a script for it.
// usage: lua [TIMES]     has the script do its work TIMES times as often as by default
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static const char script[] = {
#embed "script.lua"
};

static const luaL_Reg libraries[] = {
  {LUA_GNAME, luaopen_base}, {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
  {LUA_MATHLIBNAME, luaopen_math},
};

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (!L) return 1;
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
    lua_pop(L, 1);
  }
  // An error in here aborts: nothing jumps in this build.
  luaL_loadbuffer(L, script, sizeof script, "=script");
  lua_pushinteger(L, argc > 1 ? atoi(argv[1]) : 1);
  lua_call(L, 1, 0);
  lua_close(L);
}
