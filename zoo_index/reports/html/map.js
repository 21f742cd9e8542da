// The map as the reader's hands use it: by mouse, by touch, by keys. It comes last, and begins.
const { count, noun, plural, atlas } = zoo;
const { canvas, view, closest, cellAt, toX, toY } = atlas;

// ---------- mouse and touch
canvas.addEventListener("wheel", (event) => { event.preventDefault(); atlas.zoomAt(event.offsetX, event.offsetY, Math.exp(-Math.max(-150, Math.min(150, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.0022))); }, { passive: false });

const held = new Map(); // fingers
let moved = 0;
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, [event.offsetX, event.offsetY]); if (held.size === 1) moved = 0; });
canvas.addEventListener("pointermove", (event) => {
  const before = held.get(event.pointerId), now = [event.offsetX, event.offsetY];
  if (!before) { hover(now); return; }
  if (held.size === 2) {
    const other = [...held].find(([id]) => id !== event.pointerId)[1];
    const gap = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    atlas.zoomAt((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, gap(now) / Math.max(gap(before), 1));
    moved = 99;
  } else {
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (moved > 4) { atlas.unhint(); atlas.moveBy(before[0] - now[0], before[1] - now[1]); }
  }
  held.set(event.pointerId, now);
});
function release(event) {
  const was = held.delete(event.pointerId);
  if (!was || event.type === "pointercancel" || moved > 4) return;
  const p = closest(event.offsetX, event.offsetY, event.pointerType === "touch" ? 22 : 12);
  if (p) { atlas.focus = null; atlas.open(p.name); return; }
  const cell = cellAt(event.offsetX, event.offsetY);
  if (cell) atlas.look({ x: cell.x, y: cell.y, zoom: view.zoom * 3 });
}
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => { atlas.unhint(); canvas.style.cursor = ""; if (atlas.focus && document.activeElement !== canvas) { atlas.focus = null; atlas.draw(); } });
canvas.addEventListener("dblclick", (event) => { if (!closest(event.offsetX, event.offsetY)) atlas.zoomAt(event.offsetX, event.offsetY, 2); });

function hover([px, py]) {
  const { map } = atlas;
  const p = atlas.drawnCells.length ? null : closest(px, py), cell = p ? null : cellAt(px, py);
  if (p !== atlas.focus) { atlas.focus = p; atlas.draw(); }
  canvas.style.cursor = p || cell ? "pointer" : "";
  if (p) atlas.hint(px, py, p.name, `${map.families[p.family]} · ${count(p.params)} ${noun(p.params, "parameter")} · ${plural(p.weights, "set")} of weights`);
  else if (cell) atlas.hint(px, py, plural(cell.n, "architecture"), `${Math.round(100 * cell.share)}% ${map.families[cell.family]}`);
  else atlas.unhint();
}

// ---------- keys
const STEP = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const way = STEP[event.key];
  if (way && (event.shiftKey || atlas.drawnCells.length)) atlas.moveBy(way[0] * 60, way[1] * 60);
  else if (way) step(way);
  else if (event.key === "+" || event.key === "=") atlas.zoomBy(1.4);
  else if (event.key === "-") atlas.zoomBy(1 / 1.4);
  else if (event.key === "0") atlas.whole();
  else if (event.key === "Enter" && atlas.focus) atlas.open(atlas.focus.name);
  else if (event.key === "Escape") { atlas.focus = null; atlas.unhint(); if (atlas.isOpen()) atlas.close(); atlas.draw(); }
  else return;
  event.preventDefault();
});
function step(way) {
  const best = atlas.nextTo(way);
  if (!best) return;
  atlas.focus = best;
  if (atlas.inSight(best.name)) atlas.draw();
  else atlas.look({ x: best.x, y: best.y });
  atlas.hint(toX(best.x), toY(best.y), best.name, `${atlas.map.families[best.family]} · ${count(best.params)} ${noun(best.params, "parameter")}`);
  atlas.at("told").textContent = best.name;
}

// ---------- start
function begin(answer) {
  atlas.take(answer);
  zoo.mapSeconds = performance.now() / 1000;
  atlas.openNamed();
}
if (atlas.server) atlas.server.ask(`api/map?cells=${atlas.CELLS}`).then(begin).catch(atlas.server.complain);
else begin(zoo.data.map);
