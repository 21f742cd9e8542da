// The filters beside the map: lists to choose from, and how much passes them.
const { data, atlas, number, plural } = zoo;
const { at, wanted, isWhole } = atlas;
const CHOICES = ["license", "catalogue", "least", "most"];

function say() {
  const { map } = atlas, w = wanted();
  const all = map.architectures, shown = isWhole() ? map.nowShown : map.shown;
  at("reset").hidden = !atlas.isFiltered(w) && !w.search;
  at("told").textContent = [
    shown === all ? plural(all, "architecture") : `${number(shown)} of ${plural(all, "architecture")}`,
    w.search && isWhole() ? `${atlas.points.filter((p) => p.hit).length} found` : "", atlas.cells ? "a dot is many of them: zoom in" : "", data.note || "",
  ].filter(Boolean).join(" · ");
}

const changed = () => { atlas.refilter(); atlas.reask(); };
for (const id of [...CHOICES, "available"]) at(id).addEventListener("change", changed);
at("reset").addEventListener("click", () => {
  for (const id of CHOICES) at(id).value = "";
  at("available").checked = false;
  at("search").value = "";
  atlas.unchoose();
  atlas.unlist();
  changed();
});

atlas.listeners.push(say);
