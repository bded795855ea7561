static int square(int x) { return x * x; }

int other(int a) {
  int sum = 0;
  for (int i = 0; i < a; ++i)
    sum += square(i);
  return sum;
}
