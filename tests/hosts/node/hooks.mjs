// The hooks as imports: the host's side of docs/abi.md.

import { bufferPlace } from "./sections.mjs";

/** Every spelling of the Observe ABI's hooks: each call is an event. */
export function observe(tree) {
  const enter = (id) => tree.enter(id >>> 0);
  const exit = (id) => tree.exit(id >>> 0);
  const memoryGrow = (pages) => tree.memoryGrow(pages >>> 0);
  return {
    "dylibso:observe/instrument": { enter, exit, "memory-grow": memoryGrow },
    dylibso_observe: { instrument_enter: enter, instrument_exit: exit, instrument_memory_grow: memoryGrow },
  };
}

/** The manual API: what the guest's own code says is kept as it comes. `memory` gives the guest's, when it is there. */
export function manualApi(tree, memory) {
  const text = (at, length) => new TextDecoder().decode(new Uint8Array(memory().buffer, at >>> 0, length >>> 0));
  return {
    "dylibso:observe/api": {
      "span-enter": (at, length) => tree.said.push(`span-enter ${text(at, length)}`),
      "span-exit": () => tree.said.push("span-exit"),
      "span-tags": (at, length) => tree.said.push(`span-tags ${text(at, length)}`),
      metric: (format, at, length) => tree.said.push(`metric ${text(at, length)}`),
      log: (level, at, length) => tree.said.push(`log ${level} ${text(at, length)}`),
    },
  };
}

const [CURSOR, LIMIT] = [0, 4];
/** Stands for the function where one that is not hooked catches exceptions. */
const NOBODY = 2 ** 30 - 1;
/** Added to a function's number where the word stands for a whole call of it. */
const LEAF = 2 ** 29;

/**
 * The buffer that a guest records into: `flush` makes room in it, by taking what is there. Nothing here tells the time, so
 * the clock in it stands still.
 */
export class Buffer {
  constructor(module, tree) {
    this.place = bufferPlace(module);
    this.tree = tree;
    this.memory = undefined;
    // In the set threshold each event has a second word, for its time.
    const counts = WebAssembly.Module.imports(module).some(({ name }) => name === "flush-counted");
    this.eventBytes = counts ? 8 : 4;
  }

  /** Where the guest records, once there is an instance. */
  found(instance) {
    this.memory = this.place && instance.exports[this.place.export];
  }

  imports() {
    const flush = () => {
      // JavaScript gets at a module's memories when its start function has returned, and not before.
      if (!this.memory) throw new Error("the start function records, and its buffer cannot be reached from here");
      this.take();
    };
    const memoryGrow = (pages) => {
      flush();
      this.tree.memoryGrow(pages >>> 0);
    };
    return { "wasmtrace:recorder": { "flush-words": flush, "flush-counted": flush, "memory-grow": memoryGrow } };
  }

  /** Takes the events that are there. */
  take() {
    if (!this.memory) return;
    const view = new DataView(this.memory.buffer);
    const word = (at) => view.getUint32(at, true);
    const { firstBlock } = this.place;
    for (let at = firstBlock; at < word(CURSOR); at += this.eventBytes) {
      const id = word(at) >>> 2;
      switch (word(at) & 3) {
        case 0: this.tree.enter(id); break;
        case 1: this.tree.exit(id); break;
        case 2:
          if (id < LEAF) {
            this.tree.landed(id);
          } else {
            this.tree.enter(id - LEAF);
            this.tree.exit(id - LEAF);
          }
          break;
        case 3: this.tree.enterCatching(id === NOBODY ? undefined : id); break;
      }
    }
    view.setUint32(CURSOR, firstBlock, true);
    view.setUint32(LIMIT, view.byteLength, true);
  }
}
