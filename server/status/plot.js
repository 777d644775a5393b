// SPDX-License-Identifier: Apache-2.0
//
// Plots over time, in SVG. All plots of the page share one cursor: the pointer or the arrow keys move it, and the key of
// each plot shows the values there; without a cursor, the latest.

const HEIGHT = 184;
const LEFT = 56;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
const GAP_SECONDS = 4;  // a longer silence breaks the line

const plots = [];
let cursor = null;  // Unix seconds

function svg(name, attributes = {}, parent = null) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

function html(name, className = '', text = '', parent = null) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== '') element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

// Three or four round numbers from 0 to at least `max`.
function ticks(max) {
  const raw = max / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const values = [];
  for (let i = 0; i === 0 || values[i - 1] < max * 0.999; ++i) values.push(i * step);
  return values;
}

function clock(seconds, withSeconds) {
  const options = {hour: '2-digit', minute: '2-digit', hour12: false};
  if (withSeconds) options.second = '2-digit';
  return new Date(seconds * 1000).toLocaleTimeString([], options);
}

function moveCursor(time) {
  cursor = time;
  for (const plot of plots) plot.showCursor();
}

export class Plot {
  // series: [{name, color: 'c1'}]; stacked: areas upon each other; format: number -> text; least: the axis reaches at
  // least so far.
  constructor(parent, {title, series, stacked = false, format, least}) {
    Object.assign(this, {title, series, stacked, format, least});
    this.times = [];
    this.columns = [];
    this.window = [0, 1];
    this.figure = html('figure', '', '', parent);
    const caption = html('figcaption', '', '', this.figure);
    html('h3', '', title, caption);
    this.keys = html('span', '', '', caption);
    this.keys.style.display = 'contents';
    this.svg = svg('svg', {role: 'img', tabindex: 0}, this.figure);
    this.grid = svg('g', {}, this.svg);
    const id = `clip${plots.length}`;
    this.clip = svg('rect', {x: LEFT, y: 0, height: HEIGHT}, svg('clipPath', {id}, svg('defs', {}, this.svg)));
    this.marks = svg('g', {'clip-path': `url(#${id})`}, this.svg);
    this.line = svg('line', {class: 'cursor', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden'}, this.svg);
    this.setSeries(series);
    this.svg.addEventListener('pointermove', (event) => this.point(event));
    this.svg.addEventListener('pointerleave', () => moveCursor(null));
    this.svg.addEventListener('blur', () => moveCursor(null));
    this.svg.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
    plots.push(this);
  }

  setSeries(series) {
    this.series = series;
    this.keys.replaceChildren();
    this.marks.replaceChildren();
    this.values = [];
    this.areas = [];
    this.lines = [];
    for (const {name, color} of series) {
      const key = html('span', 'key', '', this.keys);
      html('i', color, '', key);
      key.append(`${name} `);
      this.values.push(html('b', '', '', key));
      this.areas.push(svg('path', {class: `area ${color}`, 'fill-opacity': this.stacked ? 0.55 : 0.1}, this.marks));
      this.lines.push(svg('path', {class: `line ${color}`}, this.marks));
    }
  }

  // times: Unix seconds, rising; columns: for each series a value for each time; window: [from, to].
  update(times, columns, window) {
    Object.assign(this, {times, columns, window});
    this.draw();
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const [from, to] = this.window;
    moveCursor(part < 0 || part > 1 ? null : from + part * (to - from));
  }

  key(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10}[event.key];
    if (event.key === 'Escape') moveCursor(null);
    if (step === undefined || this.times.length === 0) return;
    event.preventDefault();
    const index = cursor === null ? this.times.length - 1 : this.nearest(cursor) + step;
    moveCursor(this.times[Math.max(0, Math.min(this.times.length - 1, index))]);
  }

  nearest(time) {
    let best = -1;
    for (let i = 0; i < this.times.length; ++i) {
      if (best < 0 || Math.abs(this.times[i] - time) < Math.abs(this.times[best] - time)) best = i;
    }
    return best;
  }

  draw() {
    const width = this.svg.clientWidth;
    if (width === 0) return;
    const [from, to] = this.window;
    const first = Math.max(0, this.times.findIndex((time) => time >= from) - 1);
    const shown = this.times.slice(first).length;
    const tops = this.columns.map((column) => column.slice(first));
    if (this.stacked) {
      for (let s = 1; s < tops.length; ++s) tops[s] = tops[s].map((value, i) => value + tops[s - 1][i]);
    }
    const max = Math.max(this.least, ...tops.map((column) => column.reduce((a, b) => Math.max(a, b), 0)));
    const scale = ticks(max);
    const high = scale[scale.length - 1];
    const x = (time) => LEFT + (time - from) / (to - from) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - value / high * (HEIGHT - TOP - BOTTOM);
    this.x = x;

    this.grid.replaceChildren();
    for (const value of scale) {
      const at = Math.round(y(value)) + 0.5;
      svg('line', {class: value === 0 ? 'base' : 'grid', x1: LEFT, x2: width - RIGHT, y1: at, y2: at}, this.grid);
      svg('text', {x: LEFT - 7, y: at + 4, 'text-anchor': 'end'}, this.grid).textContent =
          this.format(value).replace(/\.0+(?=\D|$)/, '');
    }
    const every = [10, 15, 30, 60, 120, 300].find((step) => (to - from) / step <= Math.max(2, width / 90)) || 300;
    for (let time = Math.ceil(from / every) * every; time <= to; time += every) {
      if (x(time) < LEFT + 18 || x(time) > width - RIGHT - 18) continue;
      svg('line', {class: 'base', x1: x(time), x2: x(time), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4}, this.grid);
      svg('text', {x: x(time), y: HEIGHT - 5, 'text-anchor': 'middle'}, this.grid).textContent =
          clock(time, every < 60);
    }

    for (let s = 0; s < tops.length; ++s) {
      let line = '';
      let area = '';
      for (let begin = 0; begin < shown;) {
        let end = begin + 1;
        while (end < shown && this.times[first + end] - this.times[first + end - 1] <= GAP_SECONDS) ++end;
        const part = [];
        const base = [];
        for (let i = begin; i < end; ++i) {
          const at = x(this.times[first + i]).toFixed(1);
          part.push(`${at} ${y(tops[s][i]).toFixed(1)}`);
          base.unshift(`${at} ${y(this.stacked && s > 0 ? tops[s - 1][i] : 0).toFixed(1)}`);
        }
        line += `M${part.join('L')}`;
        area += `M${part.join('L')}L${base.join('L')}Z`;
        begin = end;
      }
      this.lines[s].setAttribute('d', line);
      this.areas[s].setAttribute('d', this.stacked || s === 0 ? area : '');
    }
    this.clip.setAttribute('width', width - LEFT - RIGHT);
    this.showCursor();
  }

  showCursor() {
    const index = cursor === null ? this.times.length - 1 : this.nearest(cursor);
    const words = [];
    this.series.forEach(({name}, s) => {
      const text = index < 0 || this.columns[s] === undefined ? '–' : this.format(this.columns[s][index]);
      if (this.values[s].textContent !== text) this.values[s].textContent = text;
      words.push(`${name} ${text}`);
    });
    const visible = cursor !== null && index >= 0 && this.x !== undefined;
    this.line.setAttribute('visibility', visible ? 'visible' : 'hidden');
    if (visible) {
      const at = this.x(this.times[index]).toFixed(1);
      this.line.setAttribute('x1', at);
      this.line.setAttribute('x2', at);
    }
    const when = index < 0 ? 'no data yet' : clock(this.times[index], true);
    this.svg.setAttribute('aria-label', `${this.title}, ${when}: ${words.join(', ')}. Arrow keys move in time.`);
  }
}

// A small line without axes.
export function sparkline(element, values) {
  const max = Math.max(1e-9, ...values);
  const points = values.map((value, i) => `${(i / Math.max(1, values.length - 1) * 108 + 1).toFixed(1)} ` +
      `${(22 - value / max * 20).toFixed(1)}`);
  element.setAttribute('d', points.length ? `M${points.join('L')}` : '');
}
