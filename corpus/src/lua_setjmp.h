// setjmp for wasm32-wasi; the recipe installs it as <setjmp.h>, which Debian's wasi-libc lacks.
#ifndef LUA_SETJMP_H
#define LUA_SETJMP_H
typedef unsigned long jmp_buf[8];
int setjmp(jmp_buf) __attribute__((__returns_twice__));
_Noreturn void longjmp(jmp_buf, int);
#endif
