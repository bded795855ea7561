// Boxes of a flame graph in rows. Each row is sorted by start, so a binary search finds what is visible.

/**
 * Boxes in rows: those of row `r` are at positions `first[r] … first[r + 1] - 1`, sorted by `start`.
 * `item[p]` is the tree node or span that position `p` shows.
 */
class Rows {
  constructor(first, item, start, width, items) {
    Object.assign(this, { first, item, start, width });
    this.count = first.length - 1;
    this.position = new Uint32Array(items).fill(NONE);
    for (let p = 0; p < item.length; p++) this.position[item[p]] = p;
  }

  /** The first position in `from … to - 1` that starts at `x` or later. */
  startingAt(x, from, to) {
    const { start } = this;
    // Gallop: the next visible box is near the last one, far more often than not.
    let step = 1;
    let low = from;
    while (low + step < to && start[low + step] < x) {
      low += step;
      step *= 2;
    }
    let high = Math.min(to, low + step);
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (start[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first position of a row whose box ends after `x`. */
  endingAfter(x, row) {
    const from = this.first[row];
    const at = this.startingAt(x, from, this.first[row + 1]);
    return at > from && this.start[at - 1] + this.width[at - 1] > x ? at - 1 : at;
  }

  /** The position of the box at `x` in a row, or -1. A box of less than `slack` counts as that wide. */
  at(x, row, slack = 0) {
    if (row < 0 || row >= this.count) return -1;
    const p = this.endingAfter(x, row);
    if (p < this.first[row + 1] && this.start[p] <= x) return p;
    if (p > this.first[row] && x - this.start[p - 1] < slack) return p - 1;
    return p < this.first[row + 1] && this.start[p] - x < slack ? p : -1;
  }

  row(p) {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.first[middle] <= p) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  end(p) {
    return this.start[p] + this.width[p];
  }

  /** The box below which `p` is drawn, or -1. */
  parent(p) {
    const row = this.row(p);
    return row === 0 ? -1 : this.at(this.start[p] + this.width[p] / 2, row - 1);
  }

  /** The positions drawn below `p`, as a range. */
  below(p) {
    const row = this.row(p) + 1;
    if (row >= this.count) return [0, 0];
    const from = this.startingAt(this.start[p], this.first[row], this.first[row + 1]);
    return [from, this.startingAt(this.end(p), from, this.first[row + 1])];
  }

  /** The next or previous box in the same row, or -1. */
  beside(p, step) {
    const row = this.row(p);
    const q = p + step;
    return q >= this.first[row] && q < this.first[row + 1] ? q : -1;
  }
}

/** Left heavy: children side by side, the largest first, as wide as their total time. */
function layoutTree(tree, weight) {
  const { count: n, root, start: firstChild } = tree;
  const sorted = tree.children.slice();
  const item = new Uint32Array(n);
  const start = new Float64Array(n);
  const width = new Float64Array(n);
  let filled = 0;
  const place = (node, x, room) => {
    const from = firstChild[node];
    const to = firstChild[node + 1];
    if (from === to) return;
    sortByWeight(sorted, from, to, weight);
    let all = 0;
    for (let i = from; i < to; i++) all += weight[sorted[i]];
    // Medians and estimates need not add up. Children that are together longer than their parent are narrowed to fit.
    const scale = all > room ? room / all : 1;
    for (let i = from; i < to; i++) {
      const w = weight[sorted[i]] * scale;
      if (!(w > 0)) break;
      item[filled] = sorted[i];
      start[filled] = x;
      width[filled++] = w;
      x += w;
    }
  };
  const first = [0];
  place(root, 0, Infinity);
  for (let p = 0; first[first.length - 1] < filled;) {
    const end = filled;
    first.push(end);
    for (; p < end; p++) place(item[p], start[p], width[p]);
  }
  const extent = first.length > 1 ? start[first[1] - 1] + width[first[1] - 1] : 0;
  const used = filled < n ? [item.slice(0, filled), start.slice(0, filled), width.slice(0, filled)] : [item, start, width];
  return { rows: new Rows(Uint32Array.from(first), ...used, n), extent };
}

/** Spans in rows by depth. They come in the order of their begin, so each row is sorted when it is filled. */
function layoutSpans(spans) {
  const { count: n, depth } = spans;
  let deepest = 0;
  for (let i = 0; i < n; i++) if (depth[i] > deepest) deepest = depth[i];
  const first = new Uint32Array(deepest + 2);
  for (let i = 0; i < n; i++) first[depth[i] + 1]++;
  for (let r = 0; r <= deepest; r++) first[r + 1] += first[r];
  const next = first.slice();
  const item = new Uint32Array(n);
  const start = new Float64Array(n);
  const width = new Float64Array(n);
  let extent = 0;
  for (let i = 0; i < n; i++) {
    const p = next[depth[i]]++;
    item[p] = i;
    start[p] = spans.start[i];
    width[p] = spans.duration[i];
    if (start[p] + width[p] > extent) extent = start[p] + width[p];
  }
  return { rows: new Rows(first, item, start, width, n), extent };
}

/** What a tooltip says about a function, wherever it appears. */
function sourceNote(model, f) {
  const { index } = model.functions[f] || {};
  const place = model.place(f);
  return [place, typeof index === 'number' ? `function ${index}` : null].filter(Boolean).join(' · ');
}

/** Sentences for the flags of a node or function. */
function flagNotes(flags) {
  return [
    [FLAG.estimated, '≈ These times are estimated.'],
    [FLAG.recursive, 'Recursive: calls of itself are merged.'],
    [FLAG.trapped, 'The run trapped here.'],
    [FLAG.open, 'Still open when the run ended.'],
    [FLAG.noise, 'The difference is within the spread.'],
  ].filter(([bit]) => flags & bit).map(([, text]) => text);
}

/** Rows of a tooltip for times and calls: `[label, text]`, or with before, after and difference. */
function figures(model, from, i, flags) {
  const about = flags & FLAG.estimated ? '≈ ' : '';
  if (model.diff) {
    const [a, b] = from;
    const row = (label, key, text, change) =>
      [label, `${text(a[key][i])} → ${text(b[key][i])}`, `${change(b[key][i] - a[key][i])} (${ratio(a[key][i], b[key][i])})`];
    return [
      row('Total', 'total', time, timeChange),
      row('Self', 'self', time, timeChange),
      ...(model.hasCalls ? [row('Calls', 'calls', count, countChange)] : []),
    ];
  }
  const { total, self, calls } = from[0];
  return [
    ['Total', about + time(total[i]), share(total[i], model.grand[0])],
    ['Self', about + time(self[i]), share(self[i], model.grand[0])],
    ...(model.hasCalls ? [['Calls', count(calls[i]), calls[i] > 1 ? `${about}${time(total[i] / calls[i])} each` : '']] : []),
  ];
}

/** The lane of the merged tree. */
function treeLane(model, palette) {
  const { tree } = model;
  const { rows, extent } = layoutTree(tree, tree.sides[model.shown].total);
  const bucket = model.diff ? i => changeBucket(model, i) : i => palette.bucket(tree.fn[i]);
  return {
    id: 'tree',
    rows,
    extent,
    items: tree.count,
    fn: i => tree.fn[i],
    bucket,
    merged: () => false,
    broken: i => (tree.flags[i] & FLAG.trapped) !== 0,
    suffix(i) {
      if (!model.diff || tree.flags[i] & FLAG.noise) return '';
      const [a, b] = tree.sides;
      return `  ${ratio(a.total[i], b.total[i])}`;
    },
    describe: i => ({ fn: tree.fn[i], rows: figures(model, tree.sides, i, tree.flags[i]), notes: flagNotes(tree.flags[i]) }),
  };
}

/** The lane of calls in time order. */
function timeLane(model, palette) {
  const { time: calls, flat } = model;
  const { rows, extent } = layoutSpans(calls);
  const of = (column, i, other) => (column ? column[i] : other);
  return {
    id: 'time',
    rows,
    extent,
    items: calls.count,
    fn: i => calls.fn[i],
    bucket: i => palette.bucket(calls.fn[i]),
    merged: i => of(calls.calls, i, 1) > 1,
    broken: i => (of(calls.flags, i, 0) & 1) !== 0,
    suffix: i => (of(calls.calls, i, 1) > 1 ? ` ×${count(calls.calls[i])}` : ''),
    describe(i) {
      const f = calls.fn[i];
      const n = of(calls.calls, i, 1);
      const [from, to] = rows.below(rows.position[i]);
      let inner = 0;
      for (let p = from; p < to; p++) inner += rows.width[p];
      const about = flat.flags[f] & FLAG.estimated ? '≈ ' : '';
      const whole = flat.sides[0];
      return {
        fn: f,
        rows: [
          [n > 1 ? 'These calls' : 'This call', about + time(calls.duration[i]), `${share(calls.duration[i], model.grand[0])} of total`],
          ['Self', about + time(Math.max(0, calls.duration[i] - inner)), ''],
          ['Begin', about + time(calls.start[i]), ''],
          ['All calls', about + time(whole.total[f]), `${share(whole.total[f], model.grand[0])} of total`],
          ['Calls', count(whole.calls[f]), ''],
        ],
        notes: [
          n > 1 ? `×${count(n)} merged short calls.` : null,
          of(calls.flags, i, 0) & 1 ? 'Did not return normally.' : null,
          about ? '≈ These times are estimated.' : null,
        ].filter(Boolean),
      };
    },
  };
}

/** The lane of manual spans, above the calls. */
function manualLane(model, palette) {
  const { manual } = model;
  const { rows, extent } = layoutSpans(manual);
  return {
    id: 'manual',
    rows,
    extent,
    items: manual.count,
    fn: i => manual.fn[i],
    bucket: i => palette.bucket(manual.fn[i]),
    merged: () => false,
    broken: () => false,
    suffix: () => '',
    describe(i) {
      const tags = manual.text && manual.text[i] ? visible(String(model.texts[manual.text[i] - 1])) : null;
      return {
        fn: manual.fn[i],
        rows: [['Manual span', time(manual.duration[i]), ''], ['Begin', time(manual.start[i]), '']],
        notes: tags ? [tags] : [],
      };
    },
  };
}
