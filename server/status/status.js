// SPDX-License-Identifier: Apache-2.0
//
// The status page: asks for /status.json every second (lstmd.v1.ServerStats) and shows it.
import {Plot, sparkline} from './plot.js';

const $ = (id) => document.getElementById(id);
const KEPT_SECONDS = 600;
const state = {points: [], since: 0, start: '', range: 300, lastAnswer: 0};

// --- Numbers for people ---
function count(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 2 : 1)} M`;
  if (value >= 1e5) return `${Math.round(value / 1e3)} k`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 || value === Math.round(value) ? Math.round(value).toLocaleString('en') : value.toFixed(1);
}
function duration(seconds) {
  if (seconds === 0) return '0';
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 2 : seconds < 0.1 ? 1 : 0)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}
function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    ++unit;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}
const percent = (part) => `${(part * 100).toFixed(part >= 0.0005 && part < 0.0995 ? 1 : 0)} %`;
function age(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([size, unit], i) =>
    `${Math.floor(i === 0 ? seconds / size : seconds % parts[first][0] / size)} ${unit}`).join(' ');
}
const shortName = (name) => name.replace(/^models\//, '');

// --- Tiles ---
const TILES = [
  ['rate', 'Steps per second'], ['p50', 'Latency, median'], ['p99', 'Latency, 99 %'], ['batch', 'Mean batch'],
  ['sessions', 'Sessions'], ['queued', 'Queued'], ['failed', 'Failed per second'], ['busy', 'Device busy'],
  ['memory', 'Memory'], ['connections', 'Connections'],
];
const tiles = {};
for (const [id, label] of TILES) {
  const tile = document.createElement('div');
  const value = document.createElement('dd');
  const note = document.createElement('dd');
  tile.append(Object.assign(document.createElement('dt'), {textContent: label}), value, note);
  value.className = 'value';
  note.className = 'note';
  $('tiles').append(tile);
  tiles[id] = {value, note};
}

function setTile(id, text, note, bad = false) {
  const [number, ...unit] = text.split(' ');
  const {value} = tiles[id];
  value.textContent = number;
  if (unit.length) value.append(Object.assign(document.createElement('small'), {textContent: unit.join(' ')}));
  value.classList.toggle('bad', bad);
  tiles[id].note.textContent = note || '\u00a0';
}

function showTiles(stats, load) {
  const process = stats.process;
  const held = sum(stats.models, (m) => m.model.weight_bytes) + sum(stats.models, (m) => m.state_bytes) +
      sum(stats.models, (m) => m.replay_bytes);
  setTile('rate', count(load.steps_per_second), load.time_steps_per_second > load.steps_per_second * 1.01 ?
    `${count(load.time_steps_per_second)} time steps` : 'over the last 5 s');
  setTile('p50', duration(load.p50_seconds), `90 %: ${duration(load.p90_seconds)}`);
  setTile('p99', duration(load.p99_seconds), 'end to end');
  setTile('batch', count(load.batch_rows), `at most ${count(stats.max_batch_size)} rows`);
  setTile('sessions', count(Number(load.sessions)), `${count(sum(stats.models, (m) => m.sessions_created))} created`);
  setTile('queued', count(Number(load.queued)), 'not answered yet');
  setTile('failed', count(load.failures_per_second), `${count(sum(stats.failures, (f) => f.count))} since the start`,
    load.failures_per_second > 0);
  const last = state.points[state.points.length - 1];
  setTile('busy', percent(load.busy), last ? `${last.cpus.toFixed(1)} processors` : '');
  const limit = Number(stats.memory_limit);
  setTile('memory', bytes(Number(process.resident_bytes)), limit > 0 ? `of ${bytes(limit)}, models ${bytes(held)}` : `models ${bytes(held)}`,
    limit > 0 && Number(process.resident_bytes) > 0.9 * limit);
  const {open, calls, cut} = stats.connections;
  const shut = sum(Object.values(cut), (number) => number);
  setTile('connections', count(Number(open)), shut > 0 ? `${count(shut)} cut` : `${count(Number(calls))} calls open`);
}

function sum(list, of) {
  return list.reduce((total, one) => total + Number(of(one)), 0);
}

// --- Plots ---
const makePlot = (options) => new Plot($('plots'), options);
const plots = {
  rate: makePlot({title: 'Steps per second', series: [{name: 'all', color: 'c1'}], stacked: true, format: count, least: 10}),
  latency: makePlot({title: 'Latency', format: duration, least: 1e-4,
    series: [{name: '50 %', color: 'c3'}, {name: '90 %', color: 'c1'}, {name: '99 %', color: 'c2'}]}),
  parts: makePlot({title: 'Step time', format: duration, least: 1e-4, stacked: true,
    series: [{name: 'queue', color: 'c2'}, {name: 'compute', color: 'c1'}, {name: 'reply', color: 'c3'}]}),
  batch: makePlot({title: 'Batch and queue', format: count, least: 4,
    series: [{name: 'mean batch', color: 'c4'}, {name: 'queued', color: 'c2'}]}),
  sessions: makePlot({title: 'Sessions and streams', format: count, least: 4,
    series: [{name: 'sessions', color: 'c1'}, {name: 'streams', color: 'c3'}]}),
  use: makePlot({title: 'Utilisation', format: percent, least: 1,
    series: [{name: 'device busy', color: 'c3'}, {name: 'processors', color: 'c2'}]}),
};
const MODEL_COLORS = ['c1', 'c3', 'c2', 'c4', 'c5'];

// The models with most steps in the time shown, each a series, and the rest.
function showRates(points, times, shown) {
  const totals = new Map();
  for (const point of points) {
    for (const {model, version, steps_per_second: rate} of point.busiest) {
      const key = `${shortName(model)} v${version}`;
      totals.set(key, (totals.get(key) || 0) + rate);
    }
  }
  const names = [...totals.keys()].sort((a, b) => totals.get(b) - totals.get(a)).slice(0, MODEL_COLORS.length).sort();
  const series = names.map((name, i) => ({name, color: MODEL_COLORS[i]}));
  const columns = series.map(() => []);
  const rest = [];
  for (const point of points) {
    let left = point.load.steps_per_second;
    names.forEach((name, i) => {
      const found = point.busiest.find((one) => `${shortName(one.model)} v${one.version}` === name);
      const rate = found ? found.steps_per_second : 0;
      left -= rate;
      columns[i].push(rate);
    });
    rest.push(Math.max(0, left));
  }
  if (!names.length || sum(rest, (x) => x) > 1e-3 * sum([...totals.values()], (x) => x)) {
    series.push({name: names.length ? 'others' : 'all', color: names.length ? 'c6' : 'c1'});
    columns.push(rest);
  }
  if (JSON.stringify(series) !== JSON.stringify(plots.rate.series)) plots.rate.setSeries(series);
  plots.rate.update(times, columns, shown);
}

function showPlots() {
  const now = state.points.length ? state.points[state.points.length - 1].seconds : Date.now() / 1000;
  // Of a server that is young, as much as there is.
  const known = state.points.length ? now - state.points[0].seconds : 0;
  const shown = [now - Math.min(state.range, Math.max(60, known)), now];
  const points = state.points.filter((point) => point.seconds >= shown[0] - 2);
  const times = points.map((point) => point.seconds);
  const column = (of) => points.map(of);
  showRates(points, times, shown);
  plots.latency.update(times, [column((p) => p.load.p50_seconds), column((p) => p.load.p90_seconds),
    column((p) => p.load.p99_seconds)], shown);
  plots.parts.update(times, [column((p) => p.load.queue_seconds), column((p) => p.load.compute_seconds),
    column((p) => p.load.reply_seconds)], shown);
  plots.batch.update(times, [column((p) => p.load.batch_rows), column((p) => Number(p.load.queued))], shown);
  plots.sessions.update(times, [column((p) => Number(p.load.sessions)), column((p) => Number(p.open_streams))], shown);
  plots.use.update(times, [column((p) => p.load.busy), column((p) => p.cpus)], shown);
}

// --- Tables ---
function cell(row, text, className = '', name = 'td') {
  const element = document.createElement(name);
  element.className = className;
  if (text instanceof Node) element.append(text); else element.textContent = text;
  row.append(element);
  return element;
}

function shape(spec) {
  if (!spec || !spec.input_size) return '';
  const parts = [`${spec.input_size} → ${spec.hidden_size}`];
  if (spec.num_layers > 1) parts.push(`${spec.num_layers} layers`);
  if (spec.projection_size) parts.push(`projection ${spec.projection_size}`);
  if (spec.direction && !/UNSPECIFIED|FORWARD/.test(spec.direction)) parts.push(spec.direction.replace('DIRECTION_', '').toLowerCase());
  if (spec.head && spec.head.output_size) parts.push(`head ${spec.head.output_size}`);
  return parts.join(', ');
}

function showModels(stats) {
  const body = $('model-table').tBodies[0];
  body.replaceChildren();
  const recent = state.points.filter((point) => point.seconds >= state.points[state.points.length - 1].seconds - state.range);
  const every = Math.max(1, Math.floor(recent.length / 100));
  for (const one of stats.models) {
    const {model} = one;
    const load = one.recent || {};
    const row = body.insertRow();
    const name = cell(row, shortName(model.name), '', 'th');
    name.scope = 'row';
    name.append(' ', Object.assign(document.createElement('small'),
      {textContent: `v${model.version}${model.default_version ? ', default' : ''}`}));
    const ready = model.state === 'READY';
    const failed = model.state === 'FAILED';
    cell(row, Object.assign(document.createElement('span'),
      {className: ready ? 'good' : failed ? 'bad' : '', textContent: model.state.toLowerCase()}));
    if (!ready) {
      const why = cell(row, model.error || '', 'wrap empty');
      why.colSpan = 14;
      continue;
    }
    cell(row, model.device);
    cell(row, shape(model.spec));
    cell(row, count(Number(model.sessions)), 'number');
    cell(row, count(load.steps_per_second || 0), 'number');
    const spark = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    spark.setAttribute('class', 'spark');
    spark.setAttribute('aria-hidden', 'true');
    path.setAttribute('class', 'line c1');
    spark.append(path);
    sparkline(path, recent.filter((_, i) => i % every === 0).map((point) => {
      const rate = point.busiest.find((entry) => entry.model === model.name && entry.version === model.version);
      return rate ? rate.steps_per_second : 0;
    }));
    cell(row, spark);
    cell(row, duration(load.p50_seconds || 0), 'number');
    cell(row, duration(load.p99_seconds || 0), 'number');
    cell(row, count(load.batch_rows || 0), 'number');
    cell(row, count(Number(one.queued)), 'number');
    cell(row, percent(load.busy || 0), 'number');
    cell(row, count(load.failures_per_second || 0), load.failures_per_second > 0 ? 'number bad' : 'number');
    cell(row, bytes(Number(model.weight_bytes)), 'number');
    cell(row, bytes(Number(one.state_bytes)), 'number');
    cell(row, bytes(Number(one.replay_bytes)), 'number');
  }
  if (!stats.models.length) cell(body.insertRow(), 'No model is loaded: lstmctl load MODEL loads one.', 'empty').colSpan = 16;
}

function showCalls(stats) {
  const failures = $('failure-table').tBodies[0];
  failures.replaceChildren();
  for (const failure of stats.failures.slice(0, 12)) {
    const row = failures.insertRow();
    for (const text of [failure.rpc, failure.code, failure.reason]) cell(row, text);
    cell(row, Number(failure.count).toLocaleString('en'), 'number');
  }
  if (!stats.failures.length) cell(failures.insertRow(), 'None.', 'empty').colSpan = 4;
  const calls = $('call-table').tBodies[0];
  calls.replaceChildren();
  for (const rpc of stats.rpcs) {
    const row = calls.insertRow();
    const all = sum(Object.values(rpc.calls), (n) => n);
    const ok = Number(rpc.calls.OK || 0);
    cell(row, rpc.rpc);
    cell(row, ok.toLocaleString('en'), 'number');
    cell(row, (all - ok).toLocaleString('en'), 'number');
    const messages = Number(rpc.messages_in) + Number(rpc.messages_out);
    cell(row, messages || Number(rpc.open_streams) ? count(Number(rpc.open_streams)) : '', 'number');
    cell(row, messages ? `${count(Number(rpc.messages_in))} in, ${count(Number(rpc.messages_out))} out` : '', 'number');
    cell(row, count(Number(rpc.slow)), 'number');
  }
  if (!stats.rpcs.length) cell(calls.insertRow(), 'None.', 'empty').colSpan = 6;
}

function showHead(stats) {
  const badge = $('state');
  const ready = stats.not_ready.length === 0;
  badge.textContent = ready ? 'ready' : stats.draining ? 'draining' : 'not ready';
  badge.className = ready ? 'badge good' : 'badge bad';
  $('version').textContent = stats.version;
  const uptime = age(Date.parse(stats.time) / 1000 - Date.parse(stats.start_time) / 1000);
  $('facts').textContent = `up ${uptime} · ` + stats.devices.map((d) => `${d.name}: ${d.description}` +
      (d.healthy ? '' : ' (lost)')).join(' · ');
  const process = stats.process;
  $('process').textContent = `${process.threads} threads · ${process.open_fds} of ${count(Number(process.max_fds))} ` +
      `files · ${age(process.cpu_seconds)} of processor time`;
  document.title = ready ? `lstmd · ${count((stats.recent || {}).steps_per_second || 0)} steps/s` : 'lstmd · not ready';
  notice(ready ? '' : stats.not_ready.join('; '));
}

function notice(text) {
  const element = $('notice');
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === '';
}

// --- Life ---
function take(stats) {
  if (stats.start_time !== state.start) {  // another process: its history is another
    state.points = [];
    state.start = stats.start_time;
  }
  for (const point of stats.history) {
    point.seconds = Date.parse(point.time) / 1000;
    if (!state.points.length || point.seconds > state.points[state.points.length - 1].seconds) state.points.push(point);
  }
  if (state.points.length) {
    state.since = state.points[state.points.length - 1].seconds;
    state.points = state.points.filter((point) => point.seconds > state.since - KEPT_SECONDS - 5);
  }
  state.stats = stats;
}

function show() {
  if (!state.stats) return;
  const load = state.stats.recent || {steps_per_second: 0, time_steps_per_second: 0, failures_per_second: 0,
    batch_rows: 0, busy: 0, p50_seconds: 0, p90_seconds: 0, p99_seconds: 0, sessions: 0, queued: 0};
  showHead(state.stats);
  showTiles(state.stats, load);
  showPlots();
  if (state.points.length) showModels(state.stats);
  showCalls(state.stats);
  document.body.dataset.points = state.points.length;
}

async function ask() {
  try {
    const answer = await fetch(`/status.json?since=${state.since}`, {signal: AbortSignal.timeout(5000)});
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    take(await answer.json());
    state.lastAnswer = Date.now();
    show();
  } catch (error) {
    $('state').textContent = 'no answer';
    $('state').className = 'badge bad';
    const silent = state.lastAnswer ? ` for ${age((Date.now() - state.lastAnswer) / 1000)}` : '';
    notice(`No answer from the server${silent} (${error.message}). Trying again every second.`);
  }
  setTimeout(ask, document.hidden ? 5000 : 1000);
}

$('ranges').addEventListener('change', (event) => {
  state.range = Number(event.target.value);
  show();
});

const THEMES = ['auto', 'light', 'dark'];
function setTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $('theme').textContent = theme[0].toUpperCase() + theme.slice(1);
  $('theme').setAttribute('aria-label', `Colours: ${theme === 'auto' ? 'as the system has them' : theme}`);
}
function storedTheme() {
  try {
    return THEMES.includes(localStorage.theme) ? localStorage.theme : 'auto';
  } catch {
    return 'auto';  // a browser that keeps nothing
  }
}
setTheme(new URLSearchParams(location.search).get('theme') || storedTheme());
$('theme').addEventListener('click', () => {
  const current = document.documentElement.dataset.theme || 'auto';
  const next = THEMES[(THEMES.indexOf(current) + 1) % THEMES.length];
  try {
    localStorage.theme = next;
  } catch {
    // It lasts as long as the page.
  }
  setTheme(next);
});

ask();
