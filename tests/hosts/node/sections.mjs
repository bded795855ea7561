// What a hooked module says of itself, read out of its custom sections: names, and where it records.

class Damaged extends Error {}

/** Reads the binary format's numbers and strings, in order. */
class Reader {
  constructor(buffer) {
    this.bytes = new Uint8Array(buffer);
    this.at = 0;
  }
  get done() {
    return this.at >= this.bytes.length;
  }
  byte() {
    if (this.done) throw new Damaged(`unexpected end at ${this.at}`);
    return this.bytes[this.at++];
  }
  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  part(length) {
    if (this.at + length > this.bytes.length) throw new Damaged(`unexpected end at ${this.at}`);
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }
  string() {
    return new TextDecoder().decode(this.part(this.number()));
  }
}

/** The names of functions, by index: the first subsection 1 of the first section `name`. What is damaged names nothing. */
export function functionNames(module) {
  const names = new Map();
  const [section] = WebAssembly.Module.customSections(module, "name");
  if (!section) return names;
  try {
    for (const reader = new Reader(section); !reader.done; ) {
      const kind = reader.byte();
      const contents = new Reader(reader.part(reader.number()));
      if (kind !== 1) continue;
      for (let left = contents.number(); left > 0; left--) names.set(contents.number(), contents.string());
      break;
    }
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
  }
  return names;
}

/** Where a module with a buffer has it: `{ export, firstBlock }`. The Manifest begins with this. */
export function bufferPlace(module) {
  const [section] = WebAssembly.Module.customSections(module, "wasmtrace.manifest");
  if (!section) return undefined;
  const reader = new Reader(section);
  const version = reader.number();
  if (version !== 4) throw new Damaged(`a Manifest of version ${version}, which is not known here`);
  const hooks = reader.string();
  return hooks === "observe" ? undefined : { export: reader.string(), firstBlock: reader.number() };
}
