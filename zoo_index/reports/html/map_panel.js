// The panel about one architecture, which the address of the page names after its #.
const { make, atlas } = zoo;
const { server, canvas } = atlas;
const side = atlas.at("facts");

async function open(name, { move = false } = {}) {
  const p = atlas.byName.get(name), address = `#${encodeURIComponent(name)}`;
  atlas.selected = p || null;
  atlas.near = new Map();
  if (p && move) atlas.look({ x: p.x, y: p.y, zoom: Math.max(atlas.view.zoom, 3) });
  history.replaceState(null, "", address);
  atlas.draw();
  let answer;
  try { answer = server ? await server.architecture(name, Boolean(p)) : atlas.unpacked(name); } catch (error) { server.complain(error); return; }
  if (location.hash !== address) return; // another one was opened meanwhile
  if (!answer || answer.name === null) side.replaceChildren(...unknown(name, answer));
  else {
    side.replaceChildren(...zoo.facts(answer, { link, close, href: server ? server.pageOf(answer.name) : null }));
    for (const one of answer.targets) atlas.near.set(one.name, "target");
    for (const one of answer.sources) atlas.near.set(one.name, "source");
    if (!p && server && answer.x >= 0) place(answer, name, move);
  }
  side.hidden = false;
  side.scrollTop = 0;
  if (innerWidth < 900) side.scrollIntoView({ block: "start" });
  atlas.draw();
}

// One that was out of sight, or in a cell.
function place(answer, name, move) {
  const p = { name, x: answer.x / 1e4, y: answer.y / 1e4, family: atlas.map.families.indexOf(answer.family), params: answer.params };
  atlas.selected = p;
  if (move) atlas.look({ x: p.x, y: p.y, zoom: Math.max(atlas.view.zoom, 12) });
}

function unknown(name, answer) {
  const button = make("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "×");
  const { map } = atlas, isInFile = !server && map.points && map.points.name.includes(name);
  return [make("div", { class: "row head" }, make("h2", { class: "name grow" }, name), button),
    ...(isInFile ? [make("p", { class: "soft" }, "This file has no more about it; zoo serve has.")]
      : [...zoo.unknown(answer ? answer.alike : [], link), make("p", { class: "soft" }, "Look for it in the search box.")])];
}

const link = (other) => make("button", { type: "button", class: "other", onclick: () => open(other, { move: !atlas.inSight(other) }) }, other);

function close() {
  side.hidden = true;
  atlas.selected = null;
  atlas.near = new Map();
  history.replaceState(null, "", "#");
  atlas.draw();
  canvas.focus();
}
const isOpen = () => !side.hidden;

function openNamed() {
  const name = zoo.decoded(location.hash.slice(1));
  if (name && (!atlas.selected || atlas.selected.name !== name)) open(name, { move: true });
}
addEventListener("hashchange", openNamed);

Object.assign(atlas, { open, close, isOpen, openNamed });
