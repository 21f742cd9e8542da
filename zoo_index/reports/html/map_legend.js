// The legend: families with their colours. Pointing at one shows where it is, clicking shows it alone, or some of them.
const { make, atlas } = zoo;
const { chosen, lit, N_COLOURS } = atlas;
const box = atlas.at("legend"), input = atlas.at("family"), count = (n) => n.toLocaleString("en");

let dots = new Map(); // by family
function legend() {
  const { map, counts } = atlas, text = typed();
  const all = map.families.map((name, family) => ({ name, family, n: counts[family] })).filter((one) => one.n || chosen.has(one.family));
  const list = all.filter((one) => one.name.toLowerCase().includes(text));
  const rest = all.filter((one) => one.family >= N_COLOURS);
  const focused = document.activeElement?.dataset?.family; // a button that is made anew loses the focus
  dots = new Map(list.map(({ family }) => [family, make("span", { class: "dot" })]));
  const buttons = list.map((one) => make("button", {
    type: "button", class: "family", "aria-pressed": String(chosen.has(one.family)), "data-family": one.name, title: one.name,
    onclick: () => { chosen.has(one.family) ? chosen.delete(one.family) : chosen.add(one.family); atlas.refilter(); atlas.reask(); },
  }, dots.get(one.family), make("span", { class: "grow" }, one.name), make("span", { class: "n" }, count(one.n))));
  buttons.forEach((button, i) => { button.family = list[i].family; });
  const grey = list.findIndex((one) => one.family >= N_COLOURS);
  if (!text && grey > 0) buttons.splice(grey, 0, about(rest));
  if (text && !list.length) buttons.push(make("p", { class: "soft about" }, "No family has this in its name."));
  box.replaceChildren(...buttons);
  box.classList.toggle("single", Boolean(text)); // with room for whole names
  if (focused) [...box.children].find((one) => one.dataset.family === focused)?.focus({ preventScroll: true });
  colour();
}
const typed = () => input.value.trim().toLowerCase();

function about(rest) {
  const n = rest.reduce((sum, one) => sum + one.n, 0);
  return make("p", { class: "soft about" }, make("span", { class: "dot", style: `background:${atlas.palette.other}` }),
    make("span", {}, `Grey: ${rest.length} smaller famil${rest.length === 1 ? "y" : "ies"}, ${zoo.plural(n, "architecture")}. Click one to see it in colour.`));
}

function colour() {
  for (const [family, dot] of dots) dot.style.background = atlas.colourOf(family);
}

// ---------- where families are
let pointed = null;
function light() {
  lit.clear();
  if (pointed !== null) lit.add(pointed);
  else if (typed()) for (const family of dots.keys()) lit.add(family);
  atlas.lend();
  colour();
  atlas.draw();
}
function point(event) {
  const button = event.target.closest(".family");
  pointed = button ? button.family : null;
  light();
}
function unpoint() { pointed = null; light(); }
box.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse") point(event); });
box.addEventListener("pointerleave", unpoint);
box.addEventListener("focusin", (event) => { if (event.target.matches(":focus-visible")) point(event); });
box.addEventListener("focusout", (event) => { if (!box.contains(event.relatedTarget)) unpoint(); });
input.addEventListener("input", () => { legend(); light(); });
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && dots.size) box.querySelector(".family").click();
  else if (event.key === "Escape") { input.value = ""; legend(); light(); }
});

function unchoose() {
  chosen.clear();
  input.value = "";
  unpoint();
}

atlas.listeners.push(legend);
Object.assign(atlas, { unchoose });
