// What `-mllvm -wasm-enable-sjlj` calls; written after wasi-libc's setjmp/wasm32/rt.c (MIT).
#include <stdint.h>

struct jump {
  void *invocation;
  uint32_t label;
  struct { void *env; int value; } arg;
};

// The exception's tag: one pointer to an `arg`.
__asm__(".globl __c_longjmp\n\t.tagtype __c_longjmp i32\n__c_longjmp:\n");

void __wasm_setjmp(struct jump *env, uint32_t label, void *invocation) {
  env->invocation = invocation;
  env->label = label;
}

uint32_t __wasm_setjmp_test(struct jump *env, void *invocation) {
  return env->invocation == invocation ? env->label : 0;
}

void __wasm_longjmp(struct jump *env, int value) {
  env->arg.env = env;
  env->arg.value = value ? value : 1;
  __builtin_wasm_throw(1, &env->arg);
}
