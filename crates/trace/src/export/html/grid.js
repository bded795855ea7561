// A table whose rows exist only while they are visible: a million rows cost no more than forty.

const LINE = 24;
// Browsers stop at some 17 million pixels of height. Beyond this the scroll bar covers several rows a pixel.
const TALLEST = 8e6;
let grids = 0;

class Grid {
  /**
   * `columns`: `{ key, label, title, width, number, fill(cell, id) }`.
   * `events`: `sort(key)`, `select(id)`, `open(id)`, `key(event, id)` and `row(element, id)`.
   */
  constructor({ label, role, columns, events, empty }) {
    Object.assign(this, { columns, events, empty });
    this.name = `grid${++grids}`;
    this.ids = [];
    this.current = -1;
    this.head = make('div.head', { role: 'row' });
    this.body = make('div.rows', { role: 'rowgroup' });
    this.space = make('div.space', { 'aria-hidden': 'true' });
    this.message = make('p.message', { hidden: '' });
    this.element = make('div.grid', { role, tabindex: 0, 'aria-label': label }, this.head, this.body, this.space, this.message);
    this.pool = [];
    this.setColumns(columns);
    this.element.addEventListener('scroll', () => this.request());
    this.element.addEventListener('click', event => this.clicked(event));
    this.element.addEventListener('dblclick', event => {
      const i = this.indexOf(event.target);
      if (i >= 0 && !event.target.closest('.twist')) events.open(this.ids[i]);
    });
  }

  /** Columns with a `least` are left out of a table that is narrower than that. */
  setColumns(all) {
    this.all = all;
    const columns = all.filter(c => !(c.least > (this.element.clientWidth || Infinity)));
    this.columns = columns;
    this.template = columns.map(c => c.width).join(' ');
    this.head.style.gridTemplateColumns = this.template;
    this.head.replaceChildren(...columns.map(c => {
      const button = make('button', { type: 'button', title: c.title || `Sort by ${c.label}` }, c.label);
      button.addEventListener('click', () => this.events.sort(c.key));
      return make(c.number ? 'div.number' : 'div', { role: 'columnheader', 'data-key': c.key }, button);
    }));
    this.pool = [];
    this.body.replaceChildren();
  }

  showSort(key, down) {
    this.sort = [key, down];
    for (const cell of this.head.children) {
      if (cell.dataset.key === key) cell.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else cell.removeAttribute('aria-sort');
    }
  }

  /** Other rows. The current one stays current if it is still there. */
  setIds(ids) {
    const kept = this.current >= 0 ? this.ids[this.current] : -1;
    this.ids = ids;
    this.current = kept >= 0 ? ids.indexOf(kept) : -1;
    this.element.setAttribute('aria-rowcount', ids.length + 1);
    this.message.hidden = ids.length > 0;
    this.message.textContent = ids.length ? '' : this.empty();
    this.space.style.height = `${Math.min(TALLEST, ids.length * LINE)}px`;
    this.draw();
  }

  /** Height that rows can take, and how many pixels of rows one pixel of the scroll bar covers. */
  scale() {
    const room = Math.max(LINE, this.element.clientHeight - LINE - 2);
    const all = this.ids.length * LINE;
    const bar = Math.min(TALLEST, all);
    return { room, factor: bar > room ? (all - room) / (bar - room) : 1 };
  }

  request() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.element.clientHeight) return;
    if (this.all.some(c => (c.least > this.element.clientWidth) === this.columns.includes(c))) {
      this.setColumns(this.all);
      this.showSort(...this.sort);
    }
    const { room, factor } = this.scale();
    const top = this.element.scrollTop * factor;
    const first = Math.floor(top / LINE);
    const size = Math.ceil(room / LINE) + 1;
    while (this.pool.length < size) this.pool.push(this.makeRow());
    this.pool.forEach((row, k) => {
      const i = first + k;
      const used = k < size && i < this.ids.length;
      row.hidden = !used;
      if (!used) return;
      const id = this.ids[i];
      row.style.transform = `translateY(${Math.round(i * LINE - top)}px)`;
      row.setAttribute('aria-rowindex', i + 2);
      row.setAttribute('aria-selected', i === this.current);
      row.id = `${this.name}-${i}`;
      row.dataset.index = i;
      this.columns.forEach((column, c) => column.fill(row.children[c], id));
      this.events.row(row, id);
    });
    if (this.current >= 0) this.element.setAttribute('aria-activedescendant', `${this.name}-${this.current}`);
    else this.element.removeAttribute('aria-activedescendant');
  }

  makeRow() {
    const row = make('div.row', { role: 'row' }, ...this.columns.map(c => make(c.number ? 'div.number' : 'div', { role: 'gridcell' })));
    row.style.gridTemplateColumns = this.template;
    this.body.append(row);
    return row;
  }

  indexOf(target) {
    const row = target.closest('.row');
    return row && this.body.contains(row) ? Number(row.dataset.index) : -1;
  }

  clicked(event) {
    const i = this.indexOf(event.target);
    if (i < 0) return;
    this.moveTo(i);
    if (event.target.closest('.twist')) this.events.toggle(this.ids[i]);
  }

  /** Makes row `i` the current one and scrolls as little as shows it. */
  moveTo(i, tell = true) {
    if (this.ids.length === 0) return;
    this.current = Math.max(0, Math.min(this.ids.length - 1, i));
    const { room, factor } = this.scale();
    const top = this.element.scrollTop * factor;
    const at = this.current * LINE;
    if (at < top) this.element.scrollTop = at / factor;
    else if (at + LINE > top + room) this.element.scrollTop = (at + LINE - room) / factor;
    if (tell) this.events.select(this.ids[this.current]);
    this.draw();
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.scale().room / LINE) - 1);
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      this.moveTo(this.current < 0 && steps[event.key] > 0 && Number.isFinite(steps[event.key]) ? 0 : this.current + steps[event.key]);
      return true;
    }
    const id = this.ids[this.current];
    if (id === undefined) return false;
    if (event.key === 'Enter') {
      this.events.open(id);
      return true;
    }
    return this.events.key ? this.events.key(event, id) : false;
  }
}
