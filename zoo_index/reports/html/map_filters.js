// The filters beside the map: lists to choose from, families in the legend, and how much passes them.
const { make, data, atlas } = zoo;
const { at, wanted, isWhole, chosen } = atlas;
const CHOICES = ["license", "catalogue", "least", "most"];

function say() {
  const { map } = atlas, w = wanted();
  const all = map.architectures.toLocaleString("en"), shown = (isWhole() ? map.nowShown : map.shown).toLocaleString("en");
  at("reset").hidden = !atlas.isFiltered(w) && !w.search;
  at("told").textContent = [
    shown === all ? `${all} architectures` : `${shown} of ${all} architectures`,
    w.search && isWhole() ? `${atlas.points.filter((p) => p.hit).length} found` : "", atlas.cells ? "a dot is many of them: zoom in" : "", data.note || "",
  ].filter(Boolean).join(" · ");
}

function legend() {
  const list = atlas.map.families.map((name, family) => ({ name, family, n: atlas.counts[family] })).filter((one) => one.n || chosen.has(one.family));
  at("legend").replaceChildren(...list.map((one) => make("button", {
    type: "button", class: "family", "aria-pressed": String(chosen.has(one.family)), "data-family": one.name, title: one.name,
    onclick: () => { chosen.has(one.family) ? chosen.delete(one.family) : chosen.add(one.family); changed(); },
  }, make("span", { class: "dot", style: `background:${atlas.colourOf(one.family)}` }), make("span", { class: "grow" }, one.name), make("span", { class: "n" }, one.n.toLocaleString("en")))));
}

function changed() { atlas.refilter(); atlas.reask(); }
for (const id of [...CHOICES, "available"]) at(id).addEventListener("change", changed);
at("reset").addEventListener("click", () => {
  for (const id of CHOICES) at(id).value = "";
  at("available").checked = false;
  at("search").value = "";
  chosen.clear();
  atlas.unlist();
  changed();
});

atlas.listeners.push(say, legend);
