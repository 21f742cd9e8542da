// Drawing the map on its canvas: points or cells, lines to the neighbours of what is selected, names.
const { atlas } = zoo;
const { view, size, toX, toY, radius, palette, colourOf, CELLS } = atlas;
const canvas = atlas.at("map"), stage = canvas.parentElement, paper = canvas.getContext("2d");
const MOST_DRAWN = 6000; // points; of more, cells are drawn

let pending = false;
function draw() { if (!pending) { pending = true; requestAnimationFrame(paint); } }

function disc(x, y, r, colour, alpha) {
  paper.globalAlpha = alpha;
  paper.fillStyle = colour;
  paper.beginPath();
  paper.arc(x, y, r, 0, 7);
  paper.fill();
}
function outline(width, colour, alpha) {
  paper.globalAlpha = alpha;
  paper.lineWidth = width;
  paper.strokeStyle = colour;
  paper.stroke();
}

function paint() {
  pending = false;
  if (!atlas.map) return;
  paper.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  paper.clearRect(0, 0, size.w, size.h);
  const inside = atlas.points.filter((p) => { const x = toX(p.x), y = toY(p.y); return x > -20 && y > -20 && x < size.w + 20 && y < size.h + 20; });
  const shown = inside.filter((p) => p.shown), { cells } = atlas;
  if (cells) atlas.drawnCells = cells.x.map((x, i) => ({ x: x / 1e4, y: cells.y[i] / 1e4, n: cells.n[i], family: cells.family[i], share: cells.share[i] }));
  else atlas.drawnCells = shown.length > MOST_DRAWN ? atlas.aggregated(shown) : [];
  if (atlas.drawnCells.length) paintCells();
  else paintPoints(inside, shown);
  paintNear();
  for (const p of [atlas.selected, atlas.focus]) if (p) ring(p, p === atlas.selected ? 2.5 : 2);
  atlas.paintLabels(paper, shown);
  paper.globalAlpha = 1;
}

function paintPoints(inside, shown) {
  const isSearched = atlas.wanted().search && atlas.isWhole(), hits = [], { lit } = atlas;
  const isLit = (p) => lit.has(p.family) && p.passes;
  const isDim = (p) => (lit.size ? !isLit(p) : isSearched);
  for (const p of inside) if (!p.shown && !isLit(p)) disc(toX(p.x), toY(p.y), 1.6, palette.soft, 0.18);
  const painted = lit.size ? [...shown, ...inside.filter((p) => !p.shown && isLit(p))] : [...shown];
  for (const p of painted.sort((a, b) => isDim(b) - isDim(a) || b.params - a.params)) {
    if (p.hit) { hits.push(p); continue; }
    disc(toX(p.x), toY(p.y), radius(p), colourOf(p.family), isDim(p) ? 0.16 : 0.82);
    if (!isDim(p)) outline(0.8, palette.page, 0.9);
  }
  for (const p of hits) { disc(toX(p.x), toY(p.y), radius(p) + 1.5, colourOf(p.family), 1); outline(1.5, palette.ink, 0.85); }
}

function paintCells() {
  const most = Math.max(...atlas.drawnCells.map((c) => c.n)), step = (Math.min(size.w, size.h) / CELLS) * 0.62;
  for (const c of atlas.drawnCells) {
    c.px = toX(c.x); c.py = toY(c.y); c.r = 1.6 + step * Math.sqrt(c.n / most);
    disc(c.px, c.py, c.r, colourOf(c.family), atlas.lit.size && !atlas.lit.has(c.family) ? 0.1 : 0.35 + 0.5 * c.share);
  }
}

function paintNear() {
  const { selected, near } = atlas;
  if (!selected || !near.size) return;
  for (const [name, kind] of near) {
    const p = atlas.byName.get(name);
    if (!p || p === selected) continue;
    paper.setLineDash(kind === "target" ? [3, 3] : []);
    paper.beginPath();
    paper.moveTo(toX(selected.x), toY(selected.y));
    paper.lineTo(toX(p.x), toY(p.y));
    outline(kind === "target" ? 1 : 1.5, palette.ink, 0.75);
    paper.setLineDash([]);
    disc(toX(p.x), toY(p.y), radius(p) + 0.5, colourOf(p.family), 1);
  }
}

function ring(p, width) {
  disc(toX(p.x), toY(p.y), radius(p) + 1, colourOf(p.family), 1);
  paper.beginPath();
  paper.arc(toX(p.x), toY(p.y), radius(p) + 4, 0, 7);
  outline(width, palette.ink, 1);
}

function fit() {
  const box = stage.getBoundingClientRect();
  Object.assign(size, { w: Math.max(box.width, 50), h: Math.max(box.height, 50), ratio: devicePixelRatio || 1 });
  canvas.width = size.w * size.ratio;
  canvas.height = size.h * size.ratio;
  draw();
}
new ResizeObserver(fit).observe(stage);
fit();

atlas.listeners.push(draw);
Object.assign(atlas, { canvas, draw });
