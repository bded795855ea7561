// A sieve of Eratosthenes and a binary tree of objects under the collector.
function sieve(n: i32): i32 {
  let a = new Uint8Array(n + 1);
  let c = 0;
  for (let i = 2; i <= n; i++) {
    if (!a[i]) {
      c++;
      for (let j = i * 2; j <= n; j += i) a[j] = 1;
    }
  }
  return c;
}

class Tree {
  l: Tree | null = null;
  r: Tree | null = null;

  constructor(public v: i32) {}

  add(v: i32): void {
    if (v < this.v) {
      if (this.l) this.l!.add(v);
      else this.l = new Tree(v);
    } else {
      if (this.r) this.r!.add(v);
      else this.r = new Tree(v);
    }
  }

  depth(): i32 {
    let a = this.l ? this.l!.depth() : 0;
    let b = this.r ? this.r!.depth() : 0;
    return 1 + (a > b ? a : b);
  }
}

let t = new Tree(500);
let s = 1;
for (let i = 0; i < 300; i++) {
  s = (s * 1103 + 7919) % 1009;
  t.add(s);
}
console.log("primes " + sieve(5000).toString());
console.log("depth " + t.depth().toString());
