// Names on the map. A family is written where most of it is; close by, architectures are named.
const { atlas } = zoo;
const { view, size, toX, toY, radius, palette } = atlas;
const ALL = { has: () => true };
const MOST_NAMED = 60; // architectures in sight that are all named

let anchors = { of: null, list: [] };
function anchorsOf() {
  const { points } = atlas;
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
  for (const c of atlas.drawnCells) { const g = groups.get(c.family); if (!g || c.n > g.n) groups.set(c.family, { family: c.family, n: c.n, x: c.x, y: c.y }); }
  return [...groups.values()].sort((a, b) => b.n - a.n);
}

// Writes above a point, or where there is room around it, or not at all.
function writer(paper, taken) {
  return (text, px, py, gap, high, weight, colour, alpha) => {
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
}

function paintLabels(paper, shown) {
  const { map, focus, selected, near, byName, counts, chosen, lit } = atlas;
  const taken = [], write = writer(paper, taken);
  paper.textAlign = "center"; paper.textBaseline = "middle"; paper.lineJoin = "round";
  const writeSmall = (p) => write(p.name, toX(p.x), toY(p.y), radius(p) + 9, 11, 500, palette.ink, 0.9);
  for (const p of new Set([focus, selected])) if (p) write(p.name, toX(p.x), toY(p.y), radius(p) + 14, 13, 600, palette.ink, 1);
  if (selected) for (const name of near.keys()) { const p = byName.get(name); if (p && p !== focus && p !== selected) writeSmall(p); }
  if (!atlas.drawnCells.length && shown.length <= MOST_NAMED) {
    for (const p of shown) if (p !== focus && p !== selected && !(selected && near.has(p.name))) writeSmall(p);
  } else {
    const most = Math.round((size.w < 600 ? 12 : 24) * view.zoom ** 1.2); // the largest families, more of them close by
    const anchored = (atlas.drawnCells.length ? cellAnchors() : anchorsOf()).filter(({ family }) => counts[family] && (lit.size ? lit : chosen.size ? chosen : ALL).has(family));
    for (const a of anchored.slice(0, most)) {
      const [high, weight, colour] = atlas.hasColour(a.family) ? [13, 650, palette.ink] : [11.5, 500, palette.soft];
      write(map.families[a.family], toX(a.x), toY(a.y), 13, high, weight, colour, 0.85);
    }
  }
  zoo.labels = taken.map((one) => one.text);
}

Object.assign(atlas, { paintLabels });
