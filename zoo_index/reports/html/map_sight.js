// Looking at another part of the map. Of a large index the server is asked again for what is then in sight.
const { atlas } = zoo;
const { view, size, fromX, fromY, server, wanted, CELLS } = atlas;
const WAIT_MS = 90; // until the reader stands still

let asking = null, timer = 0;
function reask() {
  if (!server || atlas.map.complete) return;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (asking) asking.abort();
    asking = new AbortController();
    try {
      const answer = await server.ask(`api/map?${question()}`, {}, asking.signal);
      answer.asked = true;
      server.calm();
      atlas.take(answer, true);
    } catch (error) { server.complain(error); }
  }, WAIT_MS);
}
function question() {
  const w = wanted(), [x0, y0, x1, y1] = atlas.edges(), q = new URLSearchParams({ cells: CELLS });
  const cut = (v) => Math.min(1, Math.max(0, v)).toFixed(5);
  const box = { x0: cut(x0), y0: cut(y0), x1: cut(x1), y1: cut(y1) };
  if (box.x0 < box.x1 && box.y0 < box.y1) for (const [k, v] of Object.entries(box)) q.set(k, v);
  if (w.license) q.set("license", w.license);
  if (w.catalogue) q.set("catalogue", w.catalogue);
  if (w.least) q.set("min_params", w.least);
  if (w.most < Infinity) q.set("max_params", w.most);
  if (w.available) q.set("available", "true");
  if (w.search) q.set("search", w.search);
  if (atlas.chosen.size) q.set("family", [...atlas.chosen].map((f) => atlas.map.families[f]).join(","));
  return q;
}

// Go somewhere: the middle, and how far away, as far as they are named.
function look(to) {
  Object.assign(view, to);
  view.zoom = Math.min(400, Math.max(0.7, view.zoom));
  view.x = Math.min(1.05, Math.max(-0.05, view.x));
  view.y = Math.min(1.05, Math.max(-0.05, view.y));
  atlas.draw();
  reask();
}
function zoomAt(px, py, factor) {
  const x = fromX(px), y = fromY(py);
  view.zoom = Math.min(400, Math.max(0.7, view.zoom * factor));
  atlas.unhint();
  look({ x: view.x + x - fromX(px), y: view.y + y - fromY(py) });
}
const zoomBy = (factor) => zoomAt(size.w / 2, size.h / 2, factor);
const moveBy = (px, py) => look({ x: view.x + px / atlas.sx(), y: view.y + py / atlas.sy() });
const whole = () => look({ x: 0.5, y: 0.5, zoom: 1 });
atlas.at("in").addEventListener("click", () => zoomBy(1.6));
atlas.at("out").addEventListener("click", () => zoomBy(1 / 1.6));
atlas.at("all").addEventListener("click", whole);

// The words beside what is pointed at.
const tip = atlas.at("tip");
function hint(px, py, head, line) {
  tip.replaceChildren(zoo.make("strong", {}, head), zoo.make("span", {}, line));
  tip.hidden = false;
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = `${Math.min(Math.max(px + 14, 4), size.w - w - 4)}px`;
  tip.style.top = `${py + h + 24 > size.h ? py - h - 12 : py + 16}px`;
}
function unhint() { tip.hidden = true; }

Object.assign(atlas, { reask, look, zoomAt, zoomBy, moveBy, whole, hint, unhint });
