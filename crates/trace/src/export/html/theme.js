// Colours. A function keeps its colour in every view and every recording: it depends on kind, module and name alone.

const KINDS = ['program', 'std', 'alloc', 'host', 'manual'];
const KIND_NAMES = { program: 'program', std: 'standard library', alloc: 'allocator', host: 'host', manual: 'manual spans' };
/** For each kind: first hue, last hue, saturation and lightness in the light and the dark theme. */
const SCALES = {
  program: [14, 48, [84, 74], [66, 63]],
  std: [200, 228, [70, 78], [58, 66]],
  alloc: [312, 340, [60, 80], [50, 68]],
  host: [140, 172, [44, 72], [36, 56]],
  manual: [254, 278, [62, 80], [56, 73]],
};
const SHADES = 12;

/** Steps of change, from much faster to much slower. Step 3 is no change; then noise, new and gone. */
const CHANGE = {
  light: ['#6ea8f0', '#9cc4f5', '#c9dff8', '#dfe1e6', '#fad3cd', '#f6aaa0', '#ef8377', '#c9cdd6', '#f06a8d', '#6f8df0'],
  dark: ['#5b9bec', '#86b4ee', '#aac4e6', '#b4b8c1', '#e3b5ae', '#ea958b', '#ee7468', '#8d9199', '#ee6c93', '#7d97f2'],
};
const STEP = { same: 3, noise: 7, added: 8, gone: 9 };

/** The step of a node of a comparison: by the relative change of its total. */
function changeBucket(model, i) {
  const { flags, sides: [a, b] } = model.tree;
  const before = a.total[i];
  const after = b.total[i];
  if (flags[i] & FLAG.noise) return STEP.noise;
  if (before === 0 && a.calls[i] === 0 && after > 0) return STEP.added;
  if (after === 0 && b.calls[i] === 0 && before > 0) return STEP.gone;
  const change = (after - before) / Math.max(before, after, 1e-9);
  const size = Math.abs(change);
  const step = size < 0.02 ? 0 : size < 0.1 ? 1 : size < 0.3 ? 2 : 3;
  return STEP.same + Math.sign(change) * step;
}

/** FNV-1a: short, and the same everywhere. */
function hash(text) {
  let h = 0x811c9dc5;
  const end = Math.min(text.length, 200);
  for (let i = 0; i < end; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}

/** Colours of all functions in the current theme. */
class Palette {
  constructor(model) {
    this.model = model;
    this.buckets = new Uint8Array(model.functions.length).fill(255);
    this.set('light');
  }

  set(theme) {
    const dark = theme === 'dark';
    this.theme = theme;
    this.text = dark ? '#0f1013' : '#17181c';
    this.dimText = dark ? '#a3a6ad' : '#5d6169';
    this.page = dark ? '#17181b' : '#ffffff';
    this.line = dark ? '#34373e' : '#e3e5ea';
    this.quiet = dark ? '#a3a6ad' : '#5d6169';
    this.select = dark ? '#ffffff' : '#0b0c0e';
    this.hover = dark ? '#c9ccd3' : '#4a4d55';
    this.broken = dark ? '#b3120a' : '#c81e1e';
    this.hatch = dark ? 'rgba(23,24,27,.4)' : 'rgba(255,255,255,.55)';
    this.shadow = dark ? 'rgba(23,24,27,.68)' : 'rgba(225,228,234,.72)';
    this.marks = dark
      ? { log: '#7fb2ff', metric: '#6fd09a', 'memory.grow': '#d59bf6', trap: '#ff6b5e', other: '#b9bcc4' }
      : { log: '#1d5fd1', metric: '#157f45', 'memory.grow': '#8a2fc0', trap: '#c81e1e', other: '#5d6169' };
    this.fills = this.model.diff ? CHANGE[theme] : this.kindFills(dark);
    this.dim = dark ? '#26282d' : '#eff0f3';
    return this;
  }

  kindFills(dark) {
    const fills = [];
    for (const kind of KINDS) {
      const [from, to, light, night] = SCALES[kind];
      const [saturation, lightness] = dark ? night : light;
      for (let i = 0; i < SHADES; i++) {
        const hue = from + (to - from) * (i >> 1) / (SHADES / 2 - 1);
        fills.push(`hsl(${hue.toFixed(0)}, ${saturation}%, ${lightness + (i & 1 ? 3 : -1)}%)`);
      }
    }
    return fills;
  }

  /** The index of a function's colour in `fills`. Functions of one module share a hue. */
  bucket(f) {
    if (this.model.diff) return STEP.same;
    if (this.buckets[f] !== 255) return this.buckets[f];
    const name = this.model.label(f);
    const tail = lastSegment(name.length > 400 ? name.slice(0, 400) : name);
    const kind = Math.max(0, KINDS.indexOf(this.model.kind(f)));
    const hue = hash(tail > 0 ? name.slice(0, tail) : name) % (SHADES / 2);
    const bucket = kind * SHADES + hue * 2 + (hash(name) & 1);
    this.buckets[f] = bucket;
    return bucket;
  }

  fill(f) {
    return this.fills[this.bucket(f)];
  }

  mark(kind) {
    return this.marks[kind] || this.marks.other;
  }
}

/** The theme that was chosen last, or else the one of the system. Storage may be forbidden for files. */
function firstTheme() {
  try {
    const kept = localStorage.getItem('wasmtrace.theme');
    if (kept === 'light' || kept === 'dark') return kept;
  } catch (_) { /* The system's theme is a good answer too. */ }
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

function keepTheme(theme) {
  try {
    localStorage.setItem('wasmtrace.theme', theme);
  } catch (_) { /* It lasts as long as the page is open. */ }
}
