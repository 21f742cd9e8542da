// Where on the canvas a point of the map lies, and what lies at a place of the canvas.
const { atlas } = zoo;
const CELLS = 64, BINS = 96;
const view = { x: 0.5, y: 0.5, zoom: 1 }; // the middle, and how much larger than all of it
const size = { w: 0, h: 0, ratio: 1 }; // of the canvas

// ---------- from the map to the canvas and back
// Places tell who is near whom, not how far; so the map may be stretched to what room there is.
const STRETCH = 1.4;
const extent = (along, across) => Math.min(along - 44, (across - 44) * STRETCH);
const sx = () => extent(size.w, size.h) * view.zoom, sy = () => extent(size.h, size.w) * view.zoom;
const toX = (x) => size.w / 2 + (x - view.x) * sx();
const toY = (y) => size.h / 2 + (y - view.y) * sy();
const fromX = (px) => view.x + (px - size.w / 2) / sx();
const fromY = (py) => view.y + (py - size.h / 2) / sy();
const edges = () => [fromX(0), fromY(0), fromX(size.w), fromY(size.h)];
const radius = (p) => Math.min(2.6 + 0.8 * Math.max(0, Math.log10(Math.max(p.params, 1)) - 5.5), 6) * Math.min(1 + 0.22 * Math.log2(view.zoom), 2.2) * (size.w < 600 ? 0.8 : 1);

function inSight(name) {
  const p = atlas.byName.get(name);
  return Boolean(p) && toX(p.x) > 20 && toY(p.y) > 20 && toX(p.x) < size.w - 20 && toY(p.y) < size.h - 20;
}

// ---------- what is there
let grid = { of: null, bins: [] };
function binned() {
  if (grid.of === atlas.points) return grid.bins;
  const bins = Array.from({ length: BINS * BINS }, () => []);
  const bin = (v) => Math.min(BINS - 1, Math.max(0, Math.floor(v * BINS)));
  for (const p of atlas.points) bins[bin(p.y) * BINS + bin(p.x)].push(p);
  grid = { of: atlas.points, bins };
  return bins;
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
const cellAt = (px, py) => atlas.drawnCells.filter((c) => Math.hypot(c.px - px, c.py - py) < c.r + 4).sort((a, b) => b.n - a.n)[0];

// The next point in a direction, for the keys.
function nextTo([dx, dy]) {
  const from = atlas.focus || atlas.selected || { x: view.x, y: view.y };
  let best = null, least = Infinity;
  for (const p of atlas.points) {
    if (!p.shown || p === from) continue;
    const along = (p.x - from.x) * dx + (p.y - from.y) * dy, across = Math.abs((p.x - from.x) * dy) + Math.abs((p.y - from.y) * dx);
    if (along <= 1e-6 || across > 2 * along) continue;
    const d = along + 2 * across;
    if (d < least) { least = d; best = p; }
  }
  return best;
}

// Too many points for the canvas, as cells of a grid.
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

Object.assign(atlas, { view, size, CELLS, sx, sy, toX, toY, fromX, fromY, edges, radius, inSight, closest, cellAt, nextTo, aggregated, drawnCells: [] });
