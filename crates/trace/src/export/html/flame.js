// A flame graph view: what part is visible, what is selected, how one moves. `paint.js` draws it, `pointer.js` listens.

const OVERVIEW = 44;

class Flame {
  /** `build()` returns the lanes, or null with `absent` as the sentence to show. */
  constructor(app, { id, title, build, extent, absent, about }) {
    Object.assign(this, { app, id, title, build, absent, about, wanted: extent });
    this.canvas = make('canvas.flame', { tabindex: 0, role: 'application', 'aria-roledescription': 'flame graph', 'aria-label': `${title}. Arrow keys select, Enter zooms.` });
    this.overview = make('canvas.overview', { 'aria-hidden': 'true' });
    this.bar = make('div.scrollbar', { tabindex: -1, 'aria-hidden': 'true' }, make('div'));
    this.path = make('div.path', { 'aria-label': 'Path of the selected call' });
    this.said = make('div.said', { role: 'status' });
    this.legend = make('div.legend', { 'aria-label': 'Colours' });
    this.controls = make('div.controls');
    this.stage = make('div.stage', {}, this.canvas, this.bar);
    this.element = make('section.view.flames', { id: `view-${id}`, 'aria-label': title },
      make('div.toolbar', {}, make('span.about', {}, about), this.controls, this.legend),
      this.overview, this.stage, make('div.foot', {}, this.path, this.said));
    this.view = { x0: 0, x1: 1 };
    this.scroll = 0;
    this.selected = null;
    this.hovered = null;
    this.frames = [];
    listenToFlame(this);
  }

  /** Builds lanes when the view is first shown: a page that is only searched need not lay out everything. */
  prepare() {
    if (this.lanes) return;
    this.lanes = this.build() || [];
    this.main = this.lanes[this.lanes.length - 1] || null;
    this.element.classList.toggle('absent', !this.main);
    if (!this.main) this.stage.append(make('p.message', {}, this.absent()));
    let top = 4;
    for (const lane of this.lanes) {
      lane.top = top;
      top += lane.rows.count * ROW + 8;
    }
    this.contentHeight = top + 20;
    this.extent = Math.max(this.wanted ? this.wanted() : 0, ...this.lanes.map(lane => lane.extent), 1e-3);
    // What comes before the first call is the start of the engine.
    this.begin = Math.min(this.extent, ...this.lanes.filter(lane => lane.rows.start.length).map(lane => lane.rows.start[0]));
    this.view = { x0: this.begin, x1: this.extent };
    this.marks = this.id === 'time' ? this.app.model.marks : [];
    this.top = AXIS + (this.marks.length ? MARKS : 0);
    this.showPath();
  }

  /** Forgets the layout, for another choice of widths. The selection stays if it is still drawn. */
  rebuild() {
    const item = this.selected && this.selected.item;
    this.lanes = null;
    this.selected = this.hovered = null;
    this.prepare();
    if (item !== null && item !== undefined && this.main.rows.position[item] !== NONE) this.select(this.main, this.main.rows.position[item]);
    this.overviewFor = null;
    this.resize();
  }

  show() {
    this.prepare();
    this.resize();
  }

  focus() {
    this.canvas.focus({ preventScroll: true });
  }

  resize() {
    if (!this.lanes || !this.element.isConnected || this.element.hidden) return;
    this.pixels = Math.max(50, this.stage.clientWidth - (this.contentHeight > this.stage.clientHeight - this.top ? 14 : 0));
    this.height = Math.max(20, this.stage.clientHeight - this.top);
    const size = (canvas, width, height) => {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0);
    };
    size(this.canvas, this.pixels, this.height + this.top);
    this.overviewWidth = Math.max(50, this.overview.parentElement.clientWidth);
    size(this.overview, this.overviewWidth, OVERVIEW);
    this.overviewFor = null;
    this.bar.hidden = this.contentHeight <= this.height;
    this.bar.style.top = `${this.top}px`;
    this.bar.firstChild.style.height = `${this.contentHeight}px`;
    this.move(this.view.x0, this.view.x1, this.scroll);
  }

  request() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (!this.element.hidden) this.draw();
    });
  }

  /** Shows `x0 … x1` and `scroll`, within what there is. */
  move(x0, x1, scroll = this.scroll) {
    const least = Math.max(this.extent * 1e-9, Math.min(this.extent, 0.5));
    const span = Math.min(this.extent, Math.max(least, x1 - x0));
    const middle = (x0 + x1) / 2;
    const from = Math.min(Math.max(0, middle - span / 2), this.extent - span);
    this.view = { x0: from, x1: from + span };
    this.scroll = Math.max(0, Math.min(scroll, this.contentHeight - this.height));
    if (!this.bar.hidden && Math.abs(this.bar.scrollTop - this.scroll) > 1) this.bar.scrollTop = this.scroll;
    this.request();
  }

  /** Zooms by `factor` around a pixel: what is there stays there. */
  zoom(factor, pixel = this.pixels / 2) {
    const { x0, x1 } = this.view;
    const at = x0 + (x1 - x0) * pixel / this.pixels;
    const span = Math.min(this.extent, (x1 - x0) / factor);
    const from = at - span * pixel / this.pixels;
    this.move(from, from + span);
  }

  pan(pixels, rows = 0) {
    const shift = (this.view.x1 - this.view.x0) * pixels / this.pixels;
    this.move(this.view.x0 + shift, this.view.x1 + shift, this.scroll + rows);
  }

  reset() {
    this.move(this.begin, this.extent, 0);
  }

  /** The box at a point of the canvas, as `{ lane, p, item }`, or null. */
  hit(x, y) {
    if (y < this.top) return null;
    const at = this.view.x0 + (this.view.x1 - this.view.x0) * x / this.pixels;
    const slack = 1.5 * (this.view.x1 - this.view.x0) / this.pixels;
    for (const lane of this.lanes) {
      const row = Math.floor((y - this.top + this.scroll - lane.top) / ROW);
      const p = lane.rows.at(at, row, slack);
      if (p >= 0) return { lane, p, item: lane.rows.item[p] };
    }
    return null;
  }

  marksAt(x, y) {
    if (!this.marks.length || y < AXIS || y >= this.top) return [];
    const scale = this.pixels / (this.view.x1 - this.view.x0);
    return this.marks.filter(([at]) => Math.abs((at - this.view.x0) * scale - x) < 5);
  }

  select(lane, p, tell = true) {
    this.selected = p < 0 ? null : { lane, p, item: lane.rows.item[p] };
    if (this.selected && tell) this.app.select(lane.fn(this.selected.item));
    this.showPath();
    this.request();
  }

  /** The selected box over the whole width. */
  zoomToSelected() {
    if (!this.selected) return;
    const { lane, p } = this.selected;
    this.move(lane.rows.start[p], lane.rows.end(p));
    this.reveal(true);
  }

  /** Moves as little as makes the selected box visible. */
  reveal(zoomed = false) {
    if (!this.selected) return;
    const { lane, p } = this.selected;
    const y = lane.top + lane.rows.row(p) * ROW;
    let { scroll } = this;
    if (y < scroll + ROW) scroll = y - 2 * ROW;
    if (y + 3 * ROW > scroll + this.height) scroll = y + 3 * ROW - this.height;
    let { x0, x1 } = this.view;
    const [from, to] = [lane.rows.start[p], lane.rows.end(p)];
    const scale = this.pixels / (x1 - x0);
    if (!zoomed) {
      if ((to - from) * scale < 4) [x0, x1] = [from - (to - from) * 8, to + (to - from) * 8];
      else if (to <= x0 || from >= x1) [x0, x1] = [(from + to) / 2 - (x1 - x0) / 2, (from + to) / 2 + (x1 - x0) / 2];
    }
    this.move(x0, x1, scroll);
  }

  /** The selection moves to a neighbour: towards the caller, to a callee, or beside. */
  step(direction) {
    if (!this.main) return;
    if (!this.selected) {
      const first = this.main.rows.endingAfter(this.view.x0, 0);
      if (first < this.main.rows.first[1]) this.select(this.main, first);
      this.reveal();
      return;
    }
    const { lane, p } = this.selected;
    const { rows } = lane;
    let to = -1;
    if (direction === 'up') to = rows.parent(p);
    else if (direction === 'down') {
      const [from, end] = rows.below(p);
      // The widest of the first ones: an icicle is read along its heavy edge.
      for (let q = from; q < Math.min(end, from + 1000); q++) if (to < 0 || rows.width[q] > rows.width[to]) to = q;
    } else to = rows.beside(p, direction === 'left' ? -1 : 1);
    if (to >= 0) this.select(lane, to);
    this.reveal();
  }

  /** Selects the box of an item and shows it. */
  goTo(item, zoom) {
    this.prepare();
    if (!this.main) return;
    const p = this.main.rows.position[item];
    if (p === undefined || p === NONE) return;
    this.select(this.main, p);
    if (zoom) this.zoomToSelected();
    else this.reveal();
  }

  /** Items that match, in the order in which "next match" visits them. */
  matchList(match) {
    if (!this.main) return [];
    if (this.id === 'tree') {
      const weight = this.app.model.tree.sides[this.app.model.shown].total;
      return match.topmost.filter(i => this.main.rows.position[i] !== NONE).sort((a, b) => weight[b] - weight[a]);
    }
    const { item } = this.main.rows;
    return Array.from(matchedPositions(this.main, match), p => item[p]).sort((a, b) => a - b);
  }

  showMatch(item) {
    this.goTo(item, false);
  }

  /** The calls from the top to the selected one, each a button that zooms. */
  showPath() {
    this.path.replaceChildren();
    this.said.textContent = '';
    if (!this.selected) {
      this.path.append('Click a call to zoom. The wheel zooms around the pointer, a drag moves, Esc shows everything.');
      return;
    }
    const { lane } = this.selected;
    const all = [];
    for (let p = this.selected.p; p >= 0; p = lane.rows.parent(p)) all.unshift(p);
    const shown = all.length > 8 ? [all[0], null, ...all.slice(-6)] : all;
    for (const p of shown) {
      if (this.path.firstChild) this.path.append(make('span', { 'aria-hidden': 'true' }, '›'));
      if (p === null) {
        this.path.append(make('span', {}, `${all.length - 7} more`));
        continue;
      }
      const name = this.app.model.label(lane.fn(lane.rows.item[p]));
      const button = make('button.crumb', { type: 'button', title: cut(name, 300) }, fit(cut(name, 400), 40));
      button.addEventListener('click', () => {
        this.select(lane, p);
        this.zoomToSelected();
      });
      this.path.append(button);
    }
    const { rows } = lane.describe(this.selected.item);
    this.said.textContent = rows.slice(0, 2).map(([label, value, part]) => `${label} ${value}${part ? ` (${part})` : ''}`).join(' · ');
  }

  draw() {
    if (!this.main) return;
    const begin = performance.now();
    const { palette, match, model } = this.app;
    const ctx = this.canvas.getContext('2d');
    const scene = { ...this.view, pixels: this.pixels, top: this.top, height: this.height, scroll: this.scroll, match, cell: this.cell };
    ctx.fillStyle = palette.page;
    ctx.fillRect(0, 0, this.pixels, this.top + this.height);
    paintAxis(ctx, scene, palette);
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, this.top, this.pixels, this.height);
    ctx.clip();
    paintLanes(ctx, this.lanes, scene, palette, model);
    this.cell = scene.cell;
    this.outline(ctx, this.hovered, palette.hover, 1);
    this.outline(ctx, this.selected, palette.select, 2);
    ctx.restore();
    if (this.marks.length) paintMarks(ctx, this.marks, scene, palette);
    this.drawOverview(palette, match);
    this.frames.push(performance.now() - begin);
    if (this.frames.length > 600) this.frames.shift();
  }

  outline(ctx, box, colour, width) {
    if (!box) return;
    const { lane, p } = box;
    const scale = this.pixels / (this.view.x1 - this.view.x0);
    const left = Math.round((lane.rows.start[p] - this.view.x0) * scale);
    const right = Math.round((lane.rows.end(p) - this.view.x0) * scale);
    if (right < 0 || left > this.pixels) return;
    const from = Math.max(-4, left);
    const size = Math.max(2, Math.min(this.pixels + 4, right) - from - 1);
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.strokeRect(from + width / 2, this.top + lane.top + lane.rows.row(p) * ROW - this.scroll + width / 2, Math.max(1, size - width), ROW - 1 - width);
  }

  /** The overview is painted once a layout, theme and search; a frame only adds the shade around the visible part. */
  drawOverview(palette, match) {
    const key = `${palette.theme} ${match ? match.query : ''} ${this.overviewWidth}`;
    const ctx = this.overview.getContext('2d');
    const width = this.overviewWidth;
    if (this.overviewFor !== key) {
      const copy = this.copy || (this.copy = document.createElement('canvas'));
      copy.width = this.overview.width;
      copy.height = this.overview.height;
      const ratio = copy.width / width;
      const paint = copy.getContext('2d');
      paint.setTransform(ratio, 0, 0, ratio, 0, 0);
      paintOverview(paint, this.lanes, { x0: 0, x1: this.extent, pixels: width, height: OVERVIEW, match }, palette);
      this.overviewFor = key;
    }
    ctx.drawImage(this.copy, 0, 0, width, OVERVIEW);
    const left = this.view.x0 / this.extent * width;
    const right = Math.max(left + 2, this.view.x1 / this.extent * width);
    ctx.fillStyle = palette.shadow;
    ctx.fillRect(0, 0, left, OVERVIEW);
    ctx.fillRect(right, 0, width - right, OVERVIEW);
    ctx.strokeStyle = palette.hover;
    ctx.strokeRect(left + 0.5, 0.5, Math.max(1, right - left - 1), OVERVIEW - 1);
  }
}
