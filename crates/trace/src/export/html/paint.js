// Draws boxes of a flame graph. The work depends on the pixels that are visible, not on the number of boxes.

const ROW = 18;
const AXIS = 22;
const MARKS = 16;
const LABEL_FONT = '11px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** Rectangles by colour: changing `fillStyle` costs more than a rectangle does. */
class Batch {
  constructor(colours) {
    this.colours = colours;
    this.lists = colours.map(() => []);
  }

  /** Adds a rectangle; one that continues the last of its colour in the same row makes that one longer. */
  add(colour, x, y, width) {
    const list = this.lists[colour];
    const n = list.length;
    if (n > 0 && list[n - 2] === y && list[n - 3] + list[n - 1] === x) list[n - 1] += width;
    else list.push(x, y, width);
  }

  box(colour, x, y, width) {
    this.lists[colour].push(x, y, width);
  }

  flush(ctx, height) {
    this.lists.forEach((list, colour) => {
      if (list.length === 0) return;
      ctx.fillStyle = this.colours[colour];
      for (let i = 0; i < list.length; i += 3) ctx.fillRect(list[i], list[i + 1], list[i + 2], height);
    });
  }
}

/** Positions of a lane whose function matches, in ascending order. Cached for the last search. */
function matchedPositions(lane, match) {
  if (lane.matchFor !== match) {
    const { item } = lane.rows;
    const found = [];
    for (let p = 0; p < item.length; p++) if (match.fns[lane.fn(item[p])]) found.push(p);
    lane.matchFor = match;
    lane.matchAt = Uint32Array.from(found);
  }
  return lane.matchAt;
}

/** The first index of a sorted list whose value is at least `value`. */
function lowerBound(list, value) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Puts one row of a lane into a batch. Boxes narrower than a pixel share one.
 * `wide(p, left, width)` is called for boxes that have room for more than colour.
 */
function paintRow(batch, lane, row, y, scene, wide) {
  const { rows } = lane;
  const { item, start, width } = rows;
  const { x0, x1, pixels, match } = scene;
  const scale = pixels / (x1 - x0);
  const end = rows.first[row + 1];
  const dim = batch.colours.length - 1;
  const matched = match ? matchedPositions(lane, match) : null;
  let p = rows.endingAfter(x0, row);
  while (p < end && start[p] < x1) {
    const left = (start[p] - x0) * scale;
    const right = left + width[p] * scale;
    if (right - left < 1) {
      const pixel = Math.max(0, Math.floor(left));
      const border = x0 + (pixel + 1) / scale;
      let next = rows.startingAt(border, p + 1, end);
      // The last box that begins in this pixel may be a wide one.
      if (next - 1 > p && rows.end(next - 1) > border) next--;
      let shown = p;
      if (matched) {
        // A match must not vanish among its neighbours in the same pixel.
        const at = lowerBound(matched, p);
        shown = at < matched.length && matched[at] < next ? matched[at] : -1;
      }
      batch.add(shown < 0 ? dim : lane.bucket(item[shown]), pixel, y, 1);
      p = next;
      continue;
    }
    const from = Math.max(-2, Math.round(left));
    const to = Math.min(pixels + 2, Math.round(right));
    const size = Math.max(1, to - from - (to - from > 2 ? 1 : 0));
    const lit = !match || match.fns[lane.fn(item[p])];
    batch.box(lit ? lane.bucket(item[p]) : dim, from, y, size);
    if (wide && size > 3) wide(p, from, size, lit);
    p++;
  }
}

/** Two diagonal lines on a transparent tile, for boxes that stand for several calls. */
function hatchTile(palette) {
  if (palette.tileFor !== palette.hatch) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 6;
    const ctx = tile.getContext('2d');
    ctx.strokeStyle = palette.hatch;
    ctx.lineWidth = 1.6;
    ctx.beginPath();
    for (const shift of [-6, 0, 6]) {
      ctx.moveTo(shift - 1, 7);
      ctx.lineTo(shift + 7, -1);
    }
    ctx.stroke();
    palette.tileFor = palette.hatch;
    palette.tile = tile;
  }
  return palette.tile;
}

const PLAIN = /^[\x20-\x7e…×−]*$/;

/** A label that fits in `room` pixels. Only plain characters have the width of the font's cell. */
function labelFor(ctx, name, suffix, room, cell) {
  const characters = Math.floor(room / cell);
  if (suffix && characters > suffix.length + 6) {
    const text = fit(name, characters - suffix.length) + suffix;
    if (PLAIN.test(text)) return text;
  }
  let text = fit(name, characters);
  if (PLAIN.test(text)) return text;
  let most = Math.min(characters, text.length);
  while (most > 1 && ctx.measureText(text).width > room) {
    most = Math.floor(most * 0.8);
    text = fit(name, most);
  }
  return text;
}

/** Paints all visible rows of the lanes into an area that begins at (0, top). */
function paintLanes(ctx, lanes, scene, palette, model) {
  const { top, height, scroll, pixels } = scene;
  const batch = new Batch([...palette.fills, palette.dim]);
  const labels = [];
  const hatched = [];
  const broken = [];
  ctx.font = LABEL_FONT;
  const cell = scene.cell || (scene.cell = ctx.measureText('0'.repeat(50)).width / 50);
  for (const lane of lanes) {
    const firstRow = Math.max(0, Math.floor((scroll - lane.top) / ROW));
    const lastRow = Math.min(lane.rows.count, Math.ceil((scroll + height - lane.top) / ROW));
    for (let row = firstRow; row < lastRow; row++) {
      const y = top + lane.top + row * ROW - scroll;
      paintRow(batch, lane, row, y, scene, (p, left, size, lit) => {
        const item = lane.rows.item[p];
        if (lane.merged(item)) hatched.push(left, y, size);
        if (lane.broken(item)) broken.push(left + size, y);
        const x = Math.max(0, left) + 4;
        const room = Math.min(pixels, left + size) - x - 2;
        if (room >= cell * 3) labels.push(lane, item, x, y, room, lit);
      });
    }
  }
  batch.flush(ctx, ROW - 1);
  if (hatched.length) {
    ctx.fillStyle = ctx.createPattern(hatchTile(palette), 'repeat');
    for (let i = 0; i < hatched.length; i += 3) ctx.fillRect(hatched[i], hatched[i + 1], hatched[i + 2], ROW - 1);
  }
  if (broken.length) {
    ctx.fillStyle = palette.broken;
    ctx.beginPath();
    for (let i = 0; i < broken.length; i += 2) {
      const [x, y] = [broken[i], broken[i + 1]];
      ctx.moveTo(x - 7, y);
      ctx.lineTo(x, y);
      ctx.lineTo(x, y + 7);
    }
    ctx.fill();
  }
  ctx.textBaseline = 'middle';
  ctx.direction = 'ltr';
  for (const lit of [true, false]) {
    ctx.fillStyle = lit ? palette.text : palette.dimText;
    for (let i = 0; i < labels.length; i += 6) {
      if (Boolean(labels[i + 5]) !== lit) continue;
      const [lane, item] = [labels[i], labels[i + 1]];
      const text = labelFor(ctx, model.label(lane.fn(item)), lane.suffix(item), labels[i + 4], cell);
      ctx.fillText(text, labels[i + 2], labels[i + 3] + ROW / 2);
    }
  }
}

/** The whole graph, small: rows of at most two pixels. Rows are left out evenly if there are too many. */
function paintOverview(ctx, lanes, scene, palette) {
  const { pixels, height } = scene;
  ctx.fillStyle = palette.page;
  ctx.fillRect(0, 0, pixels, height);
  const all = lanes.reduce((n, lane) => n + lane.rows.count, 0);
  if (all === 0) return;
  const size = Math.max(1, Math.min(3, Math.floor((height - 2) / all)));
  const lines = Math.min(all, Math.floor((height - 2) / size));
  const batch = new Batch([...palette.fills, palette.dim]);
  for (let line = 0; line < lines; line++) {
    let row = Math.floor(line * all / lines);
    const lane = lanes.find(l => row < l.rows.count || ((row -= l.rows.count), false));
    paintRow(batch, lane, row, 1 + line * size, scene, null);
  }
  batch.flush(ctx, size);
}

/** A round step, so that ticks are at least 90 pixels apart. */
function tickStep(span, pixels) {
  const least = span * 90 / pixels;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map(m => m * power).find(step => step >= least * 0.999);
}

/** The axis above the rows: time since the begin, or time added up. */
function paintAxis(ctx, scene, palette) {
  const { x0, x1, pixels, height, top } = scene;
  ctx.fillStyle = palette.page;
  ctx.fillRect(0, 0, pixels, AXIS);
  if (!(x1 > x0)) return;
  const step = tickStep(x1 - x0, pixels);
  ctx.font = '11px system-ui, sans-serif';
  ctx.textBaseline = 'middle';
  ctx.fillStyle = palette.line;
  const ticks = [];
  for (let k = Math.ceil(x0 / step); k * step <= x1 && ticks.length < 100; k++) ticks.push(k * step);
  for (const at of ticks) ctx.fillRect(Math.round((at - x0) / (x1 - x0) * pixels), 0, 1, top + height);
  ctx.fillStyle = palette.quiet;
  for (const at of ticks) {
    const [x, text] = [(at - x0) / (x1 - x0) * pixels + 4, tick(at, step)];
    if (x + ctx.measureText(text).width < pixels) ctx.fillText(text, x, AXIS / 2);
  }
}

/** Moments on the time line. Several in one pixel are one tick. */
function paintMarks(ctx, marks, scene, palette) {
  const { x0, x1, pixels } = scene;
  const drawn = new Set();
  for (const [at, kind] of marks) {
    if (at < x0 || at > x1) continue;
    const x = Math.round((at - x0) / (x1 - x0) * pixels);
    const colour = palette.mark(kind);
    if (drawn.has(`${x} ${colour}`)) continue;
    drawn.add(`${x} ${colour}`);
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.moveTo(x, AXIS + MARKS - 3);
    ctx.lineTo(x - 4, AXIS + 4);
    ctx.lineTo(x + 4, AXIS + 4);
    ctx.fill();
  }
}
