// What the map shows: architectures as points, or cells of them where there are too many, and which of them pass the filters.
const { make, count, data } = zoo;
const at = (id) => document.getElementById(id);
const server = zoo.server || null; // none where the page holds all it shows
const STEPS = [1e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 3e8, 1e9];
const PERMISSIVE = new Set(data.permissive);

// All that the files of the map share.
const atlas = {
  map: null, // what was answered last
  points: [], // {i, name, x, y, family, ...} in [0, 1]
  cells: null,
  byName: new Map(),
  counts: [], // by family, of those that pass all other filters
  chosen: new Set(), // numbers of families; none for all
  lit: new Set(), // families that the reader points at or looks for in the legend; none for all
  focus: null, // what the pointer or the keys are at
  selected: null, // what the panel is about
  near: new Map(), // its sources and targets by name
  listeners: [], // called when other points pass
};

// ---------- filters
function wanted() {
  return {
    license: at("license").value, catalogue: at("catalogue").value, available: at("available").checked,
    least: Number(at("least").value || 0), most: Number(at("most").value || Infinity), search: at("search").value.trim().toLowerCase(),
  };
}
const isFiltered = (w) => Boolean(w.license || w.catalogue || w.available || w.least || w.most < Infinity || atlas.chosen.size);

function admits(p, w) { // all but the families
  if (w.catalogue && atlas.map.catalogues[p.catalogue] !== w.catalogue) return false;
  if (p.params < w.least || p.params > w.most) return false;
  if (!w.license && !w.available) return true;
  return p.offers.some((offer) => {
    if (w.available && !(offer & 1)) return false;
    const name = atlas.map.licenses[offer >> 1].toLowerCase();
    return !w.license || (w.license === "permissive" ? PERMISSIVE.has(name) : name === w.license.toLowerCase());
  });
}

function refilter() {
  const w = wanted(), { map, points, chosen } = atlas;
  if (isWhole()) {
    atlas.counts = map.families.map(() => 0);
    let shown = 0;
    for (const p of points) {
      p.passes = admits(p, w);
      if (p.passes) atlas.counts[p.family] += 1;
      p.shown = p.passes && (!chosen.size || chosen.has(p.family));
      p.hit = Boolean(w.search) && p.shown && p.low.includes(w.search);
      shown += p.shown;
    }
    map.nowShown = shown;
  } else atlas.counts = map.counts;
  atlas.listeners.forEach((listener) => listener());
}
const isWhole = () => !server || atlas.map.architectures <= atlas.points.length || atlas.map.complete;

// ---------- what was answered
function take(answer, keep = false) {
  atlas.map = answer;
  atlas.cells = answer.kind === "cells" ? answer.cells : null;
  let points = [];
  if (answer.kind === "points") {
    const c = answer.points;
    for (let i = 0; i < c.name.length; i++)
      points.push({ i, name: c.name[i], low: c.name[i].toLowerCase(), x: c.x[i] / 1e4, y: c.y[i] / 1e4, family: c.family[i], catalogue: c.catalogue[i], params: c.params[i], weights: c.weights[i], top1: c.top1[i], offers: c.offers[i], passes: true, shown: true, hit: false });
    points = points.filter((p) => p.x >= 0);
  }
  atlas.points = points;
  atlas.byName = new Map(points.map((p) => [p.name, p]));
  answer.complete = answer.kind === "points" && points.length >= answer.architectures - (answer.hidden || 0) && !answer.asked;
  if (!keep) firstChoices();
  refilter();
}

// Fill the lists to choose from, with how many architectures each choice shows.
function firstChoices() {
  const { map, points } = atlas;
  const options = (select, list) => { for (const [text, value] of list) select.append(make("option", { value }, text)); };
  const tally = (names, of) => {
    const n = names.map(() => 0);
    for (const p of points) for (const code of new Set(of(p))) n[code] += 1;
    return names.map((name, i) => [points.length ? `${name} (${n[i]})` : name, name]);
  };
  const licenses = tally(map.licenses, (p) => p.offers.map((o) => o >> 1)), catalogues = tally(map.catalogues, (p) => [p.catalogue]);
  options(at("license"), [["any", ""], ["permissive", "permissive"], ...licenses]);
  options(at("catalogue"), [["any", ""], ...catalogues]);
  options(at("least"), [["any", ""], ...STEPS.map((n) => [count(n), n])]);
  options(at("most"), [["any", ""], ...STEPS.map((n) => [count(n), n])]);
}

// What a file holds of an architecture: numbers of texts, layers and blocks that it shares with others.
function unpacked(name) {
  const { map } = atlas, p = atlas.byName.get(name), d = data.details;
  const of = p && d && d.of[p.i];
  if (!of) return null;
  const named = ([i, similarity]) => ({ name: map.points.name[i], similarity });
  return {
    name, family: map.families[p.family], catalogue: map.catalogues[p.catalogue], params: p.params, top1: p.top1,
    sources: of.s.map(named), targets: of.t.map(named),
    weights: of.w.map((row) => Object.fromEntries(d.columns.map((key, i) => [key, d.texts[i] ? d.texts[i][row[i]] : row[i]]))),
    blocks: of.b.map(([times, i]) => ({ times, is_block: Boolean(d.blocks[i][0]), params: d.blocks[i][1], layers: d.blocks[i][2].map((l) => d.layers[l]) })),
    order: d.files.includes(p.i) ? "file" : "network",
  };
}

zoo.atlas = Object.assign(atlas, { at, server, wanted, isFiltered, refilter, isWhole, take, unpacked });
