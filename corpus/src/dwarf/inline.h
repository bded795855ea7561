// In a file of its own, so that frames of it are told from those of the rest.
static inline __attribute__((always_inline)) int twice(int x) {
  int y = x * 2;
  return y;
}
