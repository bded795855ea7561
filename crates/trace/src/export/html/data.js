// From the bytes in the page to the model that all views read. docs: the schema `wasmtrace.page/1`.

const NONE = 0xffffffff;
const FLAG = { estimated: 1, recursive: 2, trapped: 4, open: 8, noise: 16, added: 32, gone: 64 };
const COLUMN = { u8: Uint8Array, u32: Uint32Array, f64: Float64Array };

/** An error whose message is a sentence for the reader of the page. */
class Unreadable extends Error {}

/** The bytes of a base64 text. The text can have tens of megabytes, so it is decoded in pieces. */
function fromBase64(text) {
  if (/\s/.test(text)) text = text.replace(/\s+/g, '');
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array(text.length / 4 * 3 - padding);
  const piece = 1 << 20;
  for (let from = 0, to = 0; from < text.length; from += piece) {
    const decoded = atob(text.slice(from, from + piece));
    for (let i = 0; i < decoded.length; i++) bytes[to++] = decoded.charCodeAt(i);
  }
  return bytes;
}

/** Takes the data out of the document and inflates it. */
async function inflate() {
  const holder = find('data');
  if (!holder) throw new Unreadable('This page has no data.');
  if (typeof DecompressionStream === 'undefined') {
    throw new Unreadable('This browser cannot unpack the data of this page. Use Chromium 80, Firefox 113, Safari 16.4 or a newer version.');
  }
  const bytes = fromBase64(holder.textContent);
  // The text is as large as the data. Nothing needs it from here on.
  holder.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

/** The header, and the columns as views of the same buffer. */
function openColumns(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  if (header.schema !== 'wasmtrace.page/1') throw new Unreadable(`This page cannot read data of the schema ${visible(String(header.schema))}.`);
  const base = Math.ceil((4 + length) / 8) * 8;
  const column = name => {
    const [type, offset, size] = header.columns[name] || [];
    return type ? new COLUMN[type](buffer, base + offset, size) : null;
  };
  return { header, column };
}

/**
 * Links parents to children: the children of node `n` are `children[start[n]] … children[start[n + 1] - 1]`.
 * Node `count` is a root above all top nodes. A parent comes before its children; other links are ignored.
 */
function linkChildren(tree) {
  const { count: n, parent } = tree;
  const above = i => (parent[i] < i ? parent[i] : n);
  const start = new Uint32Array(n + 2);
  const depth = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const up = above(i);
    start[up + 1]++;
    depth[i] = up === n ? 0 : depth[up] + 1;
  }
  for (let i = 0; i <= n; i++) start[i + 1] += start[i];
  const next = start.slice();
  const children = new Uint32Array(n);
  for (let i = 0; i < n; i++) children[next[above(i)]++] = i;
  return Object.assign(tree, { root: n, start, children, depth });
}

/** Sorts `list[from … to - 1]` by `weight`, largest first. Most nodes have few children, so insertion is fastest. */
function sortByWeight(list, from, to, weight) {
  if (to - from > 24) {
    list.subarray(from, to).sort((a, b) => weight[b] - weight[a] || a - b);
    return;
  }
  for (let i = from + 1; i < to; i++) {
    const item = list[i];
    const w = weight[item];
    let at = i;
    while (at > from && weight[list[at - 1]] < w) {
      list[at] = list[at - 1];
      at--;
    }
    list[at] = item;
  }
}

/** One side of a comparison, or the only side of a run. `suffix` is '', '0' (before) or '1' (after). */
function side(column, table, suffix) {
  const empty = new Float64Array(0);
  const of = name => column(`${table}.${name}${suffix}`) || empty;
  return { calls: of('calls'), total: of('total'), self: of('self') };
}

function sum(column) {
  let all = 0;
  for (let i = 0; i < column.length; i++) all += column[i];
  return all;
}

function sumOfTop(tree, total) {
  let all = 0;
  for (let i = tree.start[tree.root]; i < tree.start[tree.root + 1]; i++) all += total[tree.children[i]];
  return all;
}

/** Sums of a tree by function. No node is below a node of the same function, so totals can be added. */
function flatOfTree(tree, functions) {
  const { calls, total, self } = tree.sides[0];
  const flat = { calls: new Float64Array(functions), total: new Float64Array(functions), self: new Float64Array(functions) };
  const flags = new Uint8Array(functions);
  const seen = new Uint8Array(functions);
  for (let i = 0; i < tree.count; i++) {
    const f = tree.fn[i];
    flat.calls[f] += calls[i];
    flat.total[f] += total[i];
    flat.self[f] += self[i];
    flags[f] |= tree.flags[i];
    seen[f] = 1;
  }
  return { sides: [flat], flags, seen };
}

/** The flat table of a comparison, spread to one entry a function. */
function flatOfColumns(column, functions) {
  const fn = column('flat.function') || new Uint32Array(0);
  const given = column('flat.flags') || new Uint8Array(0);
  const flags = new Uint8Array(functions);
  const seen = new Uint8Array(functions);
  const spread = from => {
    const to = { calls: new Float64Array(functions), total: new Float64Array(functions), self: new Float64Array(functions) };
    for (const key of Object.keys(to)) fn.forEach((f, i) => { to[key][f] = from[key][i]; });
    return to;
  };
  fn.forEach((f, i) => {
    flags[f] = given[i];
    seen[f] = 1;
  });
  return { sides: [spread(side(column, 'flat', '0')), spread(side(column, 'flat', '1'))], flags, seen };
}

function spans(column, table) {
  const fn = column(`${table}.function`);
  if (!fn || fn.length === 0) return null;
  const n = fn.length;
  const of = (name, other) => column(`${table}.${name}`) || other;
  return {
    count: n,
    fn,
    depth: of('depth'),
    start: of('start'),
    duration: of('duration'),
    calls: of('calls', null),
    flags: of('flags', null),
    text: of('text', null),
  };
}

/** What all views read. It does not change after loading, but for caches and `shown`. */
function buildModel({ header, column }) {
  const functions = header.functions || [];
  const diff = header.kind === 'diff';
  const parent = column('tree.parent') || new Uint32Array(0);
  const tree = linkChildren({
    count: parent.length,
    parent,
    fn: column('tree.function') || new Uint32Array(0),
    flags: column('tree.flags') || new Uint8Array(parent.length),
    sides: diff ? [side(column, 'tree', '0'), side(column, 'tree', '1')] : [side(column, 'tree', '')],
  });
  const flat = diff ? flatOfColumns(column, functions.length) : flatOfTree(tree, functions.length);
  const grand = tree.sides.map(s => sumOfTop(tree, s.total));
  const time = diff ? null : spans(column, 'time');
  const manual = diff ? null : spans(column, 'manual');
  const duration = Number(header.duration) || 0;
  const labels = new Array(functions.length);
  const model = {
    diff,
    functions,
    flat,
    tree,
    grand,
    time,
    manual,
    duration,
    program: visible(header.program || 'unnamed'),
    facts: (header.facts || []).map(pair => pair.map(text => visible(String(text)))),
    notes: (header.notes || []).map(visible),
    samples: header.samples || 0,
    texts: header.texts || [],
    marks: (header.marks || []).slice().sort((a, b) => a[0] - b[0]),
    /** The side whose totals are widths in the flame graph: the last one, after. */
    shown: diff ? 1 : 0,
    calls: flat.sides.map(s => sum(s.calls)),
    self: flat.sides.map(s => sum(s.self)),
    /** The name of a function with invisible characters made visible. */
    label(f) {
      if (labels[f] === undefined) labels[f] = functions[f] ? visible(functions[f].name) || '(no name)' : `function ${f}`;
      return labels[f];
    },
    /** `file:line` of a function, or null. */
    place(f) {
      const { file, line } = functions[f] || {};
      if (!file) return null;
      return visible(line ? `${file}:${line}` : file);
    },
    kind(f) {
      return functions[f] ? functions[f].kind : 'program';
    },
  };
  model.hasTimes = grand.some(total => total > 0);
  model.hasCalls = model.calls.some(n => n > 0);
  model.empty = tree.count === 0 && !time && !manual && !flat.seen.includes(1);
  return model;
}

/** The nodes of each function, for callers and callees. Built when first asked for. */
function nodesOf(model, f) {
  if (!model.byFunction) {
    const { fn, count: n } = model.tree;
    const start = new Uint32Array(model.functions.length + 2);
    for (let i = 0; i < n; i++) start[fn[i] + 1]++;
    for (let i = 0; i <= model.functions.length; i++) start[i + 1] += start[i];
    const next = start.slice();
    const nodes = new Uint32Array(n);
    for (let i = 0; i < n; i++) nodes[next[fn[i]]++] = i;
    model.byFunction = { start, nodes };
  }
  const { start, nodes } = model.byFunction;
  return nodes.subarray(start[f], start[f + 1]);
}

/** The functions whose name contains a text, upper and lower case alike: a byte for each, and how many of them were called. */
function matchFunctions(model, query) {
  const pattern = new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i');
  const fns = new Uint8Array(model.functions.length);
  let found = 0;
  for (let f = 0; f < fns.length; f++) {
    if (!pattern.test(model.label(f))) continue;
    fns[f] = 1;
    if (model.flat.seen[f] || model.kind(f) === 'manual') found++;
  }
  return { query, fns, found };
}

/** The functions that match a query, the topmost nodes of them, and the time below these on each side. */
function searchModel(model, query) {
  const { fns, found } = matchFunctions(model, query);
  // A match below another match is in that one's time already.
  const { tree } = model;
  const inside = new Uint8Array(tree.count);
  const topmost = [];
  for (let i = 0; i < tree.count; i++) {
    const up = tree.parent[i];
    if (up < i && inside[up]) inside[i] = 1;
    else if (fns[tree.fn[i]]) {
      inside[i] = 1;
      topmost.push(i);
    }
  }
  const times = tree.sides.map(s => topmost.reduce((all, i) => all + s.total[i], 0));
  return { query, fns, found, topmost, times };
}
