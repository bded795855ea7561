// Events -> a call tree with numbers of calls. Recursion is folded: where a function is called from itself, or from what it
// called, that is added to its node.

export class Tree {
  /** `names`: of functions, by id. */
  constructor(names) {
    this.names = names;
    this.root = { children: [] };
    this.path = [];
    /** Calls of functions that catch exceptions: how many there were, and of those that may still be open, the number of each and how many calls stay open when it goes on. */
    this.catching = 0;
    this.catchers = [];
    /** Exits of functions that were not open. */
    this.strayExits = 0;
    /** Calls that ended because one around them did, and not by an exit of their own. */
    this.withoutExit = 0;
    /** The pages that each `memory.grow` asked for. */
    this.grows = [];
    /** What the guest's own code said through the manual API. */
    this.said = [];
    /** Every event as it came, if somebody wants them. */
    this.events = undefined;
  }

  enter(id) {
    this.events?.push(["enter", id]);
    const from = this.path.at(-1) ?? this.root;
    let node = from;
    while (node && node.id !== id) node = node.parent;
    node ??= from.children.find((child) => child.id === id);
    if (!node) {
      node = { id, name: this.names.get(id) ?? `func[${id}]`, calls: 0, unwound: 0, children: [], parent: from };
      from.children.push(node);
    }
    node.calls++;
    this.path.push(node);
  }

  exit(id) {
    this.events?.push(["exit", id]);
    this.#leave(id);
  }

  /** An exception crosses it: a host of the Observe ABI is told of an exit. */
  unwound(id) {
    this.events?.push(["unwound", id]);
    const node = this.#leave(id);
    if (node) node.unwound++;
  }

  /** A function is entered that catches exceptions; with no id, one that is not hooked. */
  enterCatching(id) {
    if (id !== undefined) this.enter(id);
    this.catchers = this.catchers.filter(({ stay }) => stay <= this.path.length);
    this.catchers.push({ number: ++this.catching, stay: this.path.length });
  }

  /** The call of that number has caught an exception: those above it are gone. */
  landed(number) {
    const stay = this.catchers.findLast((catcher) => catcher.number === number).stay;
    while (this.path.length > stay) this.unwound(this.path.at(-1).id);
  }

  #leave(id) {
    const at = this.path.findLastIndex((open) => open.id === id);
    if (at < 0) {
      this.strayExits++;
      return undefined;
    }
    this.withoutExit += this.path.length - 1 - at;
    const node = this.path[at];
    this.path.length = at;
    return node;
  }

  memoryGrow(pages) {
    this.events?.push(["memory-grow", pages]);
    this.grows.push(pages);
  }

  /** The functions that are open, innermost first. */
  get open() {
    return this.path.map((node) => node.id).reverse();
  }

  /** The nodes in the order of reading, each with how deep it stands: `{ depth, calls, unwound, id, name }`. */
  *nodes() {
    const open = this.root.children.map((node) => [0, node]).reverse();
    while (open.length > 0) {
      const [depth, { id, name, calls, unwound, children }] = open.pop();
      yield { depth, calls, unwound, id, name };
      open.push(...children.map((child) => [depth + 1, child]).reverse());
    }
  }

  text() {
    return [...this.nodes()].map(({ depth, calls, name }) => `${"  ".repeat(depth)}${calls} ${name}`).join("\n");
  }
}
