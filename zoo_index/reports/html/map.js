// The map: architectures as points, or cells of them where there are too many, drawn on a canvas.
const { make, count, data } = zoo;
const at = (id) => document.getElementById(id);
const canvas = at("map"), stage = canvas.parentElement, paper = canvas.getContext("2d");
const tip = at("tip"), told = at("told"), side = at("facts");
const server = zoo.server || null;
const MOST_DRAWN = 6000, CELLS = 64, N_COLOURS = 20, MOST_FOUND = 8;
const LIGHT = ["#3f6fb5", "#cf5f3c", "#4c9a5b", "#8d5cb4", "#b98a12", "#1f9aa0", "#c04e80", "#7b6a52", "#6a86dd", "#7f9c2a", "#a8423f", "#3f8672", "#b070cc", "#d5883a", "#2c6c96", "#d97f9c", "#5c5fae", "#98a857", "#b56b45", "#62a09b"];
const DARK = ["#7aa5e8", "#f0906e", "#7cca8a", "#bd92e6", "#e3bd55", "#5accd1", "#ee86b1", "#bca98d", "#9db2ff", "#b4d05e", "#e57f7a", "#78c2ab", "#d6a0ee", "#f3b26f", "#5aa2d0", "#f3adc2", "#9a9df0", "#c9d58d", "#e0a07c", "#98cfca"];

let map = null; // what was answered last
let points = []; // {i, name, x, y, family, ...} in [0, 1]
let cells = null;
let byName = new Map();
let view = { x: 0.5, y: 0.5, zoom: 1 }; // the middle, and how much larger than all of it
let chosen = new Set(); // numbers of families; none for all
let focus = null, selected = null, near = new Map(), found = [];
let size = { w: 0, h: 0, ratio: 1 };
let pending = false, dirty = true;

// ---------- colours
const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
let palette = {};
function readPalette() {
  const styles = getComputedStyle(document.documentElement), probe = document.createElement("i");
  document.body.append(probe);
  const colour = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  palette = { page: colour("--card"), ink: colour("--ink"), soft: colour("--soft"), line: colour("--line"), mark: colour("--mark"), other: isDark() ? "#8b939e" : "#8d939b", font: styles.fontFamily || "sans-serif" };
  palette.font = getComputedStyle(document.body).fontFamily;
  probe.remove();
}
const colourOf = (family) => (family < N_COLOURS ? (isDark() ? DARK : LIGHT)[family] : palette.other);

// ---------- filters
const STEPS = [1e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 3e8, 1e9];
const PERMISSIVE = new Set(data.permissive);
const options = (select, list) => { for (const [text, value] of list) select.append(make("option", { value }, text)); };

function wanted() {
  return {
    license: at("license").value, catalogue: at("catalogue").value, available: at("available").checked,
    least: Number(at("least").value || 0), most: Number(at("most").value || Infinity), search: at("search").value.trim().toLowerCase(),
  };
}
const isFiltered = (w) => Boolean(w.license || w.catalogue || w.available || w.least || w.most < Infinity || chosen.size);

function admits(p, w) { // all but the families
  if (w.catalogue && map.catalogues[p.catalogue] !== w.catalogue) return false;
  if (p.params < w.least || p.params > w.most) return false;
  if (!w.license && !w.available) return true;
  return p.offers.some((offer) => {
    if (w.available && !(offer & 1)) return false;
    const name = map.licenses[offer >> 1].toLowerCase();
    return !w.license || (w.license === "permissive" ? PERMISSIVE.has(name) : name === w.license.toLowerCase());
  });
}

let counts = [];
function refilter() {
  const w = wanted();
  at("reset").hidden = !isFiltered(w) && !w.search;
  if (isWhole()) {
    counts = map.families.map(() => 0);
    let shown = 0;
    for (const p of points) {
      const passes = admits(p, w);
      if (passes) counts[p.family] += 1;
      p.shown = passes && (!chosen.size || chosen.has(p.family));
      p.hit = Boolean(w.search) && p.shown && p.low.includes(w.search);
      shown += p.shown;
    }
    map.nowShown = shown;
  } else counts = map.counts;
  say();
  legend();
  draw();
}
const isWhole = () => !server || map.architectures <= points.length || map.complete;

// ---------- data
function take(answer, keep = false) {
  map = answer;
  cells = answer.kind === "cells" ? answer.cells : null;
  points = [];
  if (answer.kind === "points") {
    const c = answer.points;
    for (let i = 0; i < c.name.length; i++)
      points.push({ i, name: c.name[i], low: c.name[i].toLowerCase(), x: c.x[i] / 1e4, y: c.y[i] / 1e4, family: c.family[i], catalogue: c.catalogue[i], params: c.params[i], weights: c.weights[i], top1: c.top1[i], offers: c.offers[i], shown: true, hit: false });
    points = points.filter((p) => p.x >= 0);
  }
  byName = new Map(points.map((p) => [p.name, p]));
  grid = null;
  map.complete = answer.kind === "points" && points.length >= answer.architectures - (answer.hidden || 0) && !answer.asked;
  if (!keep) firstChoices();
  refilter();
}

function firstChoices() {
  const tally = (names, of) => {
    const n = names.map(() => 0);
    for (const p of points) for (const code of new Set(of(p))) n[code] += 1;
    return names.map((name, i) => [points.length ? `${name} (${n[i]})` : name, name]);
  };
  const licenses = tally(map.licenses, (p) => p.offers.map((o) => o >> 1)), catalogues = tally(map.catalogues, (p) => [p.catalogue]);
  options(at("license"), [["any", ""], ["permissive", "permissive"], ...licenses]);
  options(at("catalogue"), [["any", ""], ...catalogues]);
  options(at("least"), [["any", ""], ...STEPS.map((n) => [count(n), n])]);
  options(at("most"), [["any", ""], ...STEPS.map((n) => [count(n), n])]);
}

// A large index: the server is asked again for what is in sight.
let asking = null, timer = 0;
function reask() {
  if (!server || map.complete) return;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const w = wanted(), [x0, y0, x1, y1] = edges(), q = new URLSearchParams({ cells: CELLS });
    const cut = (v) => Math.min(1, Math.max(0, v)).toFixed(5);
    const box = { x0: cut(x0), y0: cut(y0), x1: cut(x1), y1: cut(y1) };
    if (box.x0 < box.x1 && box.y0 < box.y1) for (const [k, v] of Object.entries(box)) q.set(k, v);
    if (w.license) q.set("license", w.license);
    if (w.catalogue) q.set("catalogue", w.catalogue);
    if (w.least) q.set("min_params", w.least);
    if (w.most < Infinity) q.set("max_params", w.most);
    if (w.available) q.set("available", "true");
    if (w.search) q.set("search", w.search);
    if (chosen.size) q.set("family", [...chosen].map((f) => map.families[f]).join(","));
    if (asking) asking.abort();
    asking = new AbortController();
    try {
      const answer = await server.ask(`/api/map?${q}`, {}, asking.signal);
      answer.asked = true;
      server.calm();
      take(answer, true);
    } catch (error) { server.complain(error); }
  }, 90);
}

// ---------- geometry
// Places tell who is near whom, not how far; so the map may be stretched to what room there is.
const STRETCH = 1.4;
const side0 = (along, across) => Math.min(along - 44, (across - 44) * STRETCH);
const sx = () => side0(size.w, size.h) * view.zoom, sy = () => side0(size.h, size.w) * view.zoom;
const toX = (x) => size.w / 2 + (x - view.x) * sx();
const toY = (y) => size.h / 2 + (y - view.y) * sy();
const fromX = (px) => view.x + (px - size.w / 2) / sx();
const fromY = (py) => view.y + (py - size.h / 2) / sy();
const edges = () => [fromX(0), fromY(0), fromX(size.w), fromY(size.h)];
const radius = (p) => Math.min(2.6 + 0.8 * Math.max(0, Math.log10(Math.max(p.params, 1)) - 5.5), 6) * Math.min(1 + 0.22 * Math.log2(view.zoom), 2.2) * (size.w < 600 ? 0.8 : 1);

let grid = null;
const BINS = 96;
function binned() {
  if (grid) return grid;
  grid = Array.from({ length: BINS * BINS }, () => []);
  const bin = (v) => Math.min(BINS - 1, Math.max(0, Math.floor(v * BINS)));
  for (const p of points) grid[bin(p.y) * BINS + bin(p.x)].push(p);
  return grid;
}
function closest(px, py, reach = 12) {
  const bins = binned(), x = fromX(px), y = fromY(py), r = reach / Math.min(sx(), sy());
  let best = null, least = reach * reach;
  for (let b = Math.max(0, Math.floor((y - r) * BINS)); b <= Math.min(BINS - 1, Math.floor((y + r) * BINS)); b++)
    for (let a = Math.max(0, Math.floor((x - r) * BINS)); a <= Math.min(BINS - 1, Math.floor((x + r) * BINS)); a++)
      for (const p of bins[b * BINS + a]) {
        if (!p.shown) continue;
        const d = (toX(p.x) - px) ** 2 + (toY(p.y) - py) ** 2;
        if (d < least) { least = d; best = p; }
      }
  return best;
}

function aggregated(list) {
  const [x0, y0, x1, y1] = edges(), w = (x1 - x0) / CELLS, h = (y1 - y0) / CELLS, made = new Map();
  for (const p of list) {
    const key = Math.floor((p.y - y0) / h) * CELLS + Math.floor((p.x - x0) / w);
    let cell = made.get(key);
    if (!cell) made.set(key, (cell = { x: 0, y: 0, n: 0, of: new Map() }));
    cell.x += p.x; cell.y += p.y; cell.n += 1;
    cell.of.set(p.family, (cell.of.get(p.family) || 0) + 1);
  }
  return [...made.values()].map((c) => {
    const [family, n] = [...c.of].reduce((a, b) => (b[1] > a[1] ? b : a));
    return { x: c.x / c.n, y: c.y / c.n, n: c.n, family, share: n / c.n };
  });
}

// ---------- drawing
let drawnCells = [];
function draw() { dirty = true; if (!pending) { pending = true; requestAnimationFrame(paint); } }

function disc(x, y, r, colour, alpha) {
  paper.globalAlpha = alpha;
  paper.fillStyle = colour;
  paper.beginPath();
  paper.arc(x, y, r, 0, 7);
  paper.fill();
}

function paint() {
  pending = false;
  if (!dirty || !map) return;
  dirty = false;
  paper.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  paper.clearRect(0, 0, size.w, size.h);
  const inside = points.filter((p) => { const x = toX(p.x), y = toY(p.y); return x > -20 && y > -20 && x < size.w + 20 && y < size.h + 20; });
  const shown = inside.filter((p) => p.shown);
  const searching = wanted().search && isWhole();
  drawnCells = [];
  if (cells) drawnCells = cells.x.map((x, i) => ({ x: x / 1e4, y: cells.y[i] / 1e4, n: cells.n[i], family: cells.family[i], share: cells.share[i] }));
  else if (shown.length > MOST_DRAWN) drawnCells = aggregated(shown);
  if (drawnCells.length) paintCells();
  else {
    for (const p of inside) if (!p.shown) disc(toX(p.x), toY(p.y), 1.6, palette.soft, 0.18);
    const hits = [];
    for (const p of [...shown].sort((a, b) => b.params - a.params)) {
      if (p.hit) { hits.push(p); continue; }
      const x = toX(p.x), y = toY(p.y), r = radius(p);
      disc(x, y, r, colourOf(p.family), searching ? 0.16 : 0.82);
      if (!searching) { paper.globalAlpha = 0.9; paper.lineWidth = 0.8; paper.strokeStyle = palette.page; paper.stroke(); }
    }
    for (const p of hits) { disc(toX(p.x), toY(p.y), radius(p) + 1.5, colourOf(p.family), 1); paper.lineWidth = 1.5; paper.strokeStyle = palette.ink; paper.globalAlpha = 0.85; paper.stroke(); }
  }
  paintNear();
  for (const p of [selected, focus]) if (p) ring(p, p === selected ? 2.5 : 2);
  paintLabels(shown);
  paper.globalAlpha = 1;
}

function paintCells() {
  const most = Math.max(...drawnCells.map((c) => c.n)), step = (Math.min(size.w, size.h) / CELLS) * 0.62;
  for (const c of drawnCells) {
    c.px = toX(c.x); c.py = toY(c.y); c.r = 1.6 + step * Math.sqrt(c.n / most);
    disc(c.px, c.py, c.r, colourOf(c.family), 0.35 + 0.5 * c.share);
  }
}

function paintNear() {
  if (!selected || !near.size) return;
  for (const [name, kind] of near) {
    const p = byName.get(name);
    if (!p || p === selected) continue;
    paper.globalAlpha = 0.75;
    paper.strokeStyle = palette.ink;
    paper.lineWidth = kind === "target" ? 1 : 1.5;
    paper.setLineDash(kind === "target" ? [3, 3] : []);
    paper.beginPath();
    paper.moveTo(toX(selected.x), toY(selected.y));
    paper.lineTo(toX(p.x), toY(p.y));
    paper.stroke();
    paper.setLineDash([]);
    disc(toX(p.x), toY(p.y), radius(p) + 0.5, colourOf(p.family), 1);
  }
}

function ring(p, width) {
  paper.globalAlpha = 1;
  disc(toX(p.x), toY(p.y), radius(p) + 1, colourOf(p.family), 1);
  paper.lineWidth = width;
  paper.strokeStyle = palette.ink;
  paper.beginPath();
  paper.arc(toX(p.x), toY(p.y), radius(p) + 4, 0, 7);
  paper.stroke();
}

// A family is written where most of it is; close by, architectures are named.
let anchors = new Map();
function anchorsOf() {
  if (anchors.of === points) return anchors.list;
  const list = [], groups = new Map();
  for (const p of points) { if (!groups.has(p.family)) groups.set(p.family, []); groups.get(p.family).push(p); }
  for (const [family, members] of groups) {
    const bins = new Map();
    for (const p of members) { const key = `${Math.round(p.x * 12)},${Math.round(p.y * 12)}`; if (!bins.has(key)) bins.set(key, []); bins.get(key).push(p); }
    const best = [...bins.values()].sort((a, b) => b.length - a.length)[0];
    const mean = (of) => best.reduce((sum, p) => sum + of(p), 0) / best.length;
    list.push({ family, n: members.length, x: mean((p) => p.x), y: mean((p) => p.y) });
  }
  anchors = { of: points, list: list.sort((a, b) => b.n - a.n) };
  return anchors.list;
}

function cellAnchors() {
  const groups = new Map();
  for (const c of drawnCells) { const g = groups.get(c.family); if (!g || c.n > g.n) groups.set(c.family, { family: c.family, n: c.n, x: c.x, y: c.y }); }
  return [...groups.values()].sort((a, b) => b.n - a.n);
}

function paintLabels(shown) {
  const taken = [], named = !drawnCells.length && shown.length <= 60;
  paper.textAlign = "center"; paper.textBaseline = "middle"; paper.lineJoin = "round";
  // Above its point, or where there is room around it.
  const write = (text, px, py, gap, high, weight, colour, alpha) => {
    paper.font = `${weight} ${high}px ${palette.font}`;
    const w = paper.measureText(text).width / 2 + 4, h = high / 2 + 3;
    const isFree = ([x, y]) => x - w >= 2 && x + w <= size.w - 2 && y - h >= 2 && y + h <= size.h - 2
      && !taken.some((t) => Math.abs(t.x - x) < t.w + w && Math.abs(t.y - y) < t.h + h);
    const place = [[px, py - gap], [px, py + gap], [px + gap + w, py], [px - gap - w, py], [px, py - gap - 2 * h], [px, py + gap + 2 * h]].find(isFree);
    if (!place) return;
    const [x, y] = place;
    taken.push({ x, y, w, h, text });
    paper.globalAlpha = alpha; paper.lineWidth = 4; paper.strokeStyle = palette.page; paper.strokeText(text, x, y);
    paper.globalAlpha = 1; paper.fillStyle = colour; paper.fillText(text, x, y);
  };
  for (const p of new Set([focus, selected])) if (p) write(p.name, toX(p.x), toY(p.y), radius(p) + 14, 13, 600, palette.ink, 1);
  if (selected) for (const name of near.keys()) { const p = byName.get(name); if (p && p !== focus && p !== selected) write(p.name, toX(p.x), toY(p.y), radius(p) + 9, 11, 500, palette.ink, 0.9); }
  if (named) for (const p of shown) { if (p !== focus && p !== selected && !(selected && near.has(p.name))) write(p.name, toX(p.x), toY(p.y), radius(p) + 9, 11, 500, palette.ink, 0.9); }
  else {
    const most = Math.round((size.w < 600 ? 12 : 24) * view.zoom ** 1.2); // the largest families, more of them close by
    const anchored = (drawnCells.length ? cellAnchors() : anchorsOf()).filter((one) => counts[one.family] && (!chosen.size || chosen.has(one.family)));
    for (const a of anchored.slice(0, most)) write(map.families[a.family], toX(a.x), toY(a.y), 13, a.family < N_COLOURS ? 13 : 11.5, a.family < N_COLOURS ? 650 : 500, a.family < N_COLOURS ? palette.ink : palette.soft, 0.85);
  }
  zoo.labels = taken.map((one) => one.text);
}

// ---------- words
function say() {
  const all = map.architectures.toLocaleString("en"), shown = (isWhole() ? map.nowShown : map.shown).toLocaleString("en");
  const hits = points.filter((p) => p.hit).length;
  told.textContent = [
    shown === all ? `${all} architectures` : `${shown} of ${all} architectures`,
    wanted().search && isWhole() ? `${hits} found` : "", cells ? "a dot is many of them: zoom in" : "", data.note || "",
  ].filter(Boolean).join(" · ");
}

function legend() {
  const list = map.families.map((name, family) => ({ name, family, n: counts[family] })).filter((one) => one.n || chosen.has(one.family));
  at("legend").replaceChildren(...list.map((one) => make("button", {
    type: "button", class: "family", "aria-pressed": String(chosen.has(one.family)), "data-family": one.name, title: one.name,
    onclick: () => { chosen.has(one.family) ? chosen.delete(one.family) : chosen.add(one.family); refilter(); reask(); },
  }, make("span", { class: "dot", style: `background:${colourOf(one.family)}` }), make("span", { class: "grow" }, one.name), make("span", { class: "n" }, one.n.toLocaleString("en")))));
}

// ---------- one architecture
async function open(name, { move = false } = {}) {
  const p = byName.get(name);
  selected = p || null;
  near = new Map();
  if (p && move) { view.x = p.x; view.y = p.y; view.zoom = Math.max(view.zoom, 3); reask(); }
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  draw();
  const close = () => { side.hidden = true; selected = null; near = new Map(); history.replaceState(null, "", "#"); draw(); canvas.focus(); };
  const link = (other) => make("button", { type: "button", class: "other", onclick: () => open(other, { move: !inSight(other) }) }, other);
  let answer;
  try { answer = server ? await server.ask(`/api/architecture/${encodeURIComponent(name)}`) : unpacked(name); } catch (error) { server.complain(error); return; }
  if (location.hash !== `#${encodeURIComponent(name)}`) return; // another one was opened meanwhile
  if (!answer) {
    const close_ = make("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "×");
    side.replaceChildren(make("div", { class: "row head" }, make("h2", { class: "name grow" }, name), close_), make("p", { class: "soft" }, map.points && map.points.name.includes(name) ? "This file has no more about it; zoo serve has." : "There is no network of this name. Look for it in the search box."));
  } else {
    side.replaceChildren(...zoo.facts(answer, { link, close, href: server ? `/architecture/${encodeURIComponent(name)}` : null }));
    for (const one of answer.targets) near.set(one.name, "target");
    for (const one of answer.sources) near.set(one.name, "source");
    if (!p && server && answer.x >= 0) {
      selected = { name, x: answer.x / 1e4, y: answer.y / 1e4, family: map.families.indexOf(answer.family), params: answer.params };
      if (move) { view.x = selected.x; view.y = selected.y; view.zoom = Math.max(view.zoom, 12); reask(); }
    }
  }
  side.hidden = false;
  side.scrollTop = 0;
  if (innerWidth < 900) side.scrollIntoView({ block: "start" });
  draw();
}
function inSight(name) {
  const p = byName.get(name);
  return Boolean(p) && toX(p.x) > 20 && toY(p.y) > 20 && toX(p.x) < size.w - 20 && toY(p.y) < size.h - 20;
}

// What a file holds of an architecture: numbers of texts, layers and blocks that it shares with others.
function unpacked(name) {
  const p = byName.get(name), d = data.details;
  const of = p && d && d.of[p.i];
  if (!of) return null;
  const named = ([i, similarity]) => ({ name: map.points.name[i], similarity });
  return {
    name, family: map.families[p.family], catalogue: map.catalogues[p.catalogue], params: p.params, top1: p.top1,
    sources: of.s.map(named), targets: of.t.map(named),
    weights: of.w.map((row) => Object.fromEntries(d.columns.map((key, i) => [key, d.texts[i] ? d.texts[i][row[i]] : row[i]]))),
    blocks: of.b.map(([times, i]) => ({ times, is_block: Boolean(d.blocks[i][0]), params: d.blocks[i][1], layers: d.blocks[i][2].map((l) => d.layers[l]) })),
  };
}

// ---------- search
let active = -1, nothing = "";
async function look() {
  const text = at("search").value.trim().toLowerCase();
  found = [];
  if (text) {
    if (isWhole()) {
      const hits = points.filter((p) => p.shown && p.low.includes(text));
      const order = (p) => [p.low === text ? 0 : p.low.startsWith(text) ? 1 : 2, p.name.length];
      found = hits.sort((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1] || (a.name < b.name ? -1 : 1)).slice(0, MOST_FOUND).map((p) => ({ name: p.name, family: map.families[p.family], params: p.params, code: p.family }));
    } else {
      try {
        const answer = await server.ask(`/api/architectures?${new URLSearchParams({ search: text, limit: MOST_FOUND })}`);
        if (at("search").value.trim().toLowerCase() !== text) return;
        found = answer.items.map((one) => ({ ...one, code: map.families.indexOf(one.family) }));
      } catch (error) { server.complain(error); }
    }
  }
  active = -1;
  nothing = text && !found.length ? `No network with “${text}” in its name${isFiltered(wanted()) ? " passes the filters" : ""}` : "";
  list();
}
function list() {
  const box = at("found");
  box.replaceChildren(...found.map((one, i) => make("button", {
    type: "button", role: "option", id: `found-${i}`, "aria-selected": String(i === active), tabindex: "-1",
    onclick: () => choose(i),
  }, make("span", { class: "dot", style: `background:${colourOf(one.code)}` }), make("span", { class: "grow" }, one.name), make("span", { class: "n" }, count(one.params)))));
  box.hidden = !found.length;
  at("nothing").hidden = !nothing;
  at("nothing").textContent = nothing;
  at("search").setAttribute("aria-expanded", String(Boolean(found.length)));
  if (active >= 0) at("search").setAttribute("aria-activedescendant", `found-${active}`);
  else at("search").removeAttribute("aria-activedescendant");
}
function choose(i) {
  const one = found[i];
  if (!one) return;
  found = [];
  list();
  at("search").value = ""; // what was looked for is found: show what is around it, too
  tip.hidden = true;
  refilter();
  open(one.name, { move: true });
}
at("search").addEventListener("input", () => { refilter(); reask(); look(); });
at("search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); active = (active + (event.key === "ArrowDown" ? 1 : found.length)) % Math.max(found.length, 1); list(); }
  else if (event.key === "Enter") choose(Math.max(active, 0));
  else if (event.key === "Escape") { found = []; nothing = ""; list(); }
});
document.addEventListener("click", (event) => { if (!event.target.closest(".search")) { found = []; nothing = ""; list(); } });

// ---------- moving
function clampView() {
  view.zoom = Math.min(400, Math.max(0.7, view.zoom));
  view.x = Math.min(1.05, Math.max(-0.05, view.x));
  view.y = Math.min(1.05, Math.max(-0.05, view.y));
}
function zoomAt(px, py, factor) {
  const x = fromX(px), y = fromY(py);
  view.zoom = Math.min(400, Math.max(0.7, view.zoom * factor));
  view.x += x - fromX(px);
  view.y += y - fromY(py);
  tip.hidden = true;
  clampView(); draw(); reask();
}
function whole() { view = { x: 0.5, y: 0.5, zoom: 1 }; draw(); reask(); }
at("in").addEventListener("click", () => zoomAt(size.w / 2, size.h / 2, 1.6));
at("out").addEventListener("click", () => zoomAt(size.w / 2, size.h / 2, 1 / 1.6));
at("all").addEventListener("click", whole);
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomAt(event.offsetX, event.offsetY, Math.exp(-Math.max(-150, Math.min(150, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.0022))); }, { passive: false });

const held = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, [event.offsetX, event.offsetY]); if (held.size === 1) moved = 0; });
canvas.addEventListener("pointermove", (event) => {
  const before = held.get(event.pointerId), now = [event.offsetX, event.offsetY];
  if (!before) { hover(now); return; }
  if (held.size === 2) {
    const other = [...held].find(([id]) => id !== event.pointerId)[1];
    const gap = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    zoomAt((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, gap(now) / Math.max(gap(before), 1));
    moved = 99;
  } else {
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (moved > 4) { view.x -= (now[0] - before[0]) / sx(); view.y -= (now[1] - before[1]) / sy(); clampView(); tip.hidden = true; draw(); reask(); }
  }
  held.set(event.pointerId, now);
});
function release(event) {
  const was = held.delete(event.pointerId);
  if (!was || event.type === "pointercancel" || moved > 4) return;
  const p = closest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 22 : 12);
  if (p) { focus = null; open(p.name); return; }
  const cell = cellAt(event.offsetX, event.offsetY);
  if (cell) { view.x = cell.x; view.y = cell.y; view.zoom *= 3; clampView(); draw(); reask(); }
}
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => { tip.hidden = true; canvas.style.cursor = ""; if (focus && document.activeElement !== canvas) { focus = null; draw(); } });
canvas.addEventListener("dblclick", (event) => { if (!closest(event.offsetX, event.offsetY)) zoomAt(event.offsetX, event.offsetY, 2); });
const cellAt = (px, py) => drawnCells.filter((c) => Math.hypot(c.px - px, c.py - py) < c.r + 4).sort((a, b) => b.n - a.n)[0];

function hover([px, py]) {
  const p = drawnCells.length ? null : closest(px, py), cell = p ? null : cellAt(px, py);
  if (p !== focus) { focus = p; draw(); }
  canvas.style.cursor = p || cell ? "pointer" : "";
  if (p) hint(px, py, p.name, `${map.families[p.family]} · ${count(p.params)} parameters · ${p.weights} set${p.weights === 1 ? "" : "s"} of weights`);
  else if (cell) hint(px, py, `${cell.n.toLocaleString("en")} architectures`, `${Math.round(100 * cell.share)}% ${map.families[cell.family]}`);
  else tip.hidden = true;
}
function hint(px, py, head, line) {
  tip.replaceChildren(make("strong", {}, head), make("span", {}, line));
  tip.hidden = false;
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = `${Math.min(Math.max(px + 14, 4), size.w - w - 4)}px`;
  tip.style.top = `${py + h + 24 > size.h ? py - h - 12 : py + 16}px`;
}

const STEP = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const way = STEP[event.key];
  if (way && (event.shiftKey || drawnCells.length)) { view.x += (way[0] * 60) / sx(); view.y += (way[1] * 60) / sy(); clampView(); draw(); reask(); }
  else if (way) step(way);
  else if (event.key === "+" || event.key === "=") zoomAt(size.w / 2, size.h / 2, 1.4);
  else if (event.key === "-") zoomAt(size.w / 2, size.h / 2, 1 / 1.4);
  else if (event.key === "0") whole();
  else if (event.key === "Enter" && focus) open(focus.name);
  else if (event.key === "Escape") { focus = null; tip.hidden = true; const x = side.querySelector(".close"); if (x && !side.hidden) x.click(); draw(); }
  else return;
  event.preventDefault();
});
function step([dx, dy]) {
  const from = focus || selected || { x: view.x, y: view.y };
  let best = null, least = Infinity;
  for (const p of points) {
    if (!p.shown || p === from) continue;
    const along = (p.x - from.x) * dx + (p.y - from.y) * dy, across = Math.abs((p.x - from.x) * dy) + Math.abs((p.y - from.y) * dx);
    if (along <= 1e-6 || across > 2 * along) continue;
    const d = along + 2 * across;
    if (d < least) { least = d; best = p; }
  }
  if (!best) return;
  focus = best;
  if (!inSight(best.name)) { view.x = best.x; view.y = best.y; reask(); }
  draw();
  hint(toX(best.x), toY(best.y), best.name, `${map.families[best.family]} · ${count(best.params)} parameters`);
  told.textContent = best.name;
}

// ---------- start
for (const id of ["license", "catalogue", "least", "most", "available"]) at(id).addEventListener("change", () => { refilter(); reask(); });
at("reset").addEventListener("click", () => {
  for (const id of ["license", "catalogue", "least", "most"]) at(id).value = "";
  at("available").checked = false; at("search").value = ""; chosen.clear(); found = []; nothing = ""; list(); refilter(); reask();
});
function fit() {
  const box = stage.getBoundingClientRect();
  size = { w: Math.max(box.width, 50), h: Math.max(box.height, 50), ratio: devicePixelRatio || 1 };
  canvas.width = size.w * size.ratio;
  canvas.height = size.h * size.ratio;
  draw();
}
new ResizeObserver(fit).observe(stage);
const recolour = () => { readPalette(); if (map) { legend(); draw(); } };
new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
readPalette();
fit();

function begin(answer) {
  take(answer);
  window.zoo.mapSeconds = performance.now() / 1000;
  const name = zoo.decoded(location.hash.slice(1));
  if (name) open(name, { move: true });
}
if (server) server.ask(`/api/map?cells=${CELLS}`).then(begin).catch(server.complain);
else begin(data.map);
addEventListener("hashchange", () => { const name = zoo.decoded(location.hash.slice(1)); if (name && (!selected || selected.name !== name)) open(name, { move: true }); });
