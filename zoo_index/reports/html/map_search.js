// The search box: what has a text in its name, to choose from.
const { make, count, atlas } = zoo;
const { server, wanted } = atlas;
const input = atlas.at("search"), box = atlas.at("found"), told = atlas.at("nothing");
const MOST_FOUND = 8;

let found = [], active = -1, nothing = "";
async function look() {
  const text = typed();
  found = [];
  if (text && atlas.isWhole()) found = among(text);
  else if (text) {
    try {
      const answer = await server.ask(`api/architectures?${new URLSearchParams({ search: text, limit: MOST_FOUND })}`);
      if (typed() !== text) return;
      found = answer.items.map((one) => ({ ...one, code: atlas.map.families.indexOf(one.family) }));
    } catch (error) { server.complain(error); }
  }
  active = -1;
  nothing = text && !found.length ? `No network with “${text}” in its name${atlas.isFiltered(wanted()) ? " passes the filters" : ""}` : "";
  list();
}
const typed = () => input.value.trim().toLowerCase();

function among(text) {
  const order = (p) => [p.low === text ? 0 : p.low.startsWith(text) ? 1 : 2, p.name.length];
  const hits = atlas.points.filter((p) => p.shown && p.low.includes(text));
  hits.sort((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1] || (a.name < b.name ? -1 : 1));
  return hits.slice(0, MOST_FOUND).map((p) => ({ name: p.name, params: p.params, code: p.family }));
}

function list() {
  box.replaceChildren(...found.map((one, i) => make("button", {
    type: "button", role: "option", id: `found-${i}`, "aria-selected": String(i === active), tabindex: "-1",
    onclick: () => choose(i),
  }, make("span", { class: "dot", style: `background:${atlas.colourOf(one.code)}` }), make("span", { class: "grow" }, one.name), make("span", { class: "n" }, count(one.params)))));
  box.hidden = !found.length;
  told.hidden = !nothing;
  told.textContent = nothing;
  input.setAttribute("aria-expanded", String(Boolean(found.length)));
  if (active >= 0) input.setAttribute("aria-activedescendant", `found-${active}`);
  else input.removeAttribute("aria-activedescendant");
}
function unlist() { found = []; nothing = ""; list(); }

function choose(i) {
  const one = found[i];
  if (!one) return;
  found = [];
  list();
  input.value = ""; // what was looked for is found: show what is around it, too
  atlas.unhint();
  atlas.refilter();
  atlas.open(one.name, { move: true });
}

input.addEventListener("input", () => { atlas.refilter(); atlas.reask(); look(); });
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); active = (active + (event.key === "ArrowDown" ? 1 : found.length)) % Math.max(found.length, 1); list(); }
  else if (event.key === "Enter") choose(Math.max(active, 0));
  else if (event.key === "Escape") unlist();
});
document.addEventListener("click", (event) => { if (!event.target.closest(".search")) unlist(); });

Object.assign(atlas, { unlist });
