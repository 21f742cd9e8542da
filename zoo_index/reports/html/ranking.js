// The page of a ranking: what to take, the sources in a table, and what the best ones would feed.
const { make, data, count, percent, number, noun, plural, bytes, card } = zoo;
const main = document.querySelector("main");
const { target, results } = data;

document.getElementById("title").replaceChildren(make("span", { class: "soft" }, "Sources for "), make("bdi", {}, target.name));
document.getElementById("about").append(
  `${count(target.params)} ${noun(target.params, "parameter")}, ${plural(target.layers, "layer")}, ${target.blocks ? zoo.madeOf(target.blocks, target.single_layers ?? 0) : "no blocks"} · ${plural(data.considered, "architecture")} considered, ${data.scored === data.considered ? "all" : number(data.scored)} compared exactly by ${data.measure}, in ${data.seconds.toFixed(2)} s`);

const best = results.find((result) => result.rank === data.best) ?? results[0];
const useful = data.benefit === "strong" || data.benefit === "some";
const hero = make("section", { class: `card hero benefit-${(data.benefit ?? "unknown").replaceAll(" ", "-")}` },
  make("p", { class: "advice" }, data.advice || `${best.name} is the most alike.`),
  make("div", { class: "tiles" },
    zoo.tile("Similarity", best.similarity.toFixed(3), "how alike the networks are, from 0 to 1"),
    zoo.tile("Coverage", percent(best.coverage), "of your network would be filled"),
    zoo.tile("Licence", best.license ?? "unknown", best.license ? "as its catalogue states it, for the weights" : "its catalogue states none"),
    zoo.tile("Weights", { here: "Here", hub: "On a hub", gone: "Gone", none: "None" }[best.where], { here: "on this machine", hub: "zoo transfer fetches them", gone: "the file is missing", none: "a structure without weights" }[best.where])),
  best.evidence ? make("details", { class: "evidence" }, make("summary", {}, "What the expectation rests on"), make("p", {}, best.evidence)) : null);
main.append(hero);

const meter = (value, text) => {
  const fill = zoo.bar([["used", value]]);
  return make("span", { class: "meter" }, fill, make("span", {}, text));
};
const COLUMNS = [
  { name: "#", key: (r) => r.rank, cell: (r) => r.rank, kind: "number" },
  { name: "Source", key: (r) => r.name, cell: source, kind: "name" },
  { name: "Similarity", key: (r) => -r.similarity, cell: (r) => meter(r.similarity, r.similarity.toFixed(3)), kind: "meters" },
  { name: "Coverage", key: (r) => -r.coverage, cell: (r) => meter(r.coverage, percent(r.coverage)), kind: "meters" },
  { name: "Benefit", key: (r) => ["strong", "some", "none", "likely to hurt", null].indexOf(r.benefit), cell: (r) => r.benefit ?? "–", kind: "benefit" },
  { name: "Paper", key: (r) => (r.paper_similarity === null ? 1 : -r.paper_similarity), cell: (r) => (r.paper_similarity === null ? "–" : r.paper_similarity.toFixed(3)), kind: "number", title: "The similarity as the paper measures it (--measure paper); – where only a weights file is known" },
  { name: "ImageNet top-1", key: (r) => -(r.top1 ?? -1), cell: (r) => (r.top1 === null ? "–" : `${r.top1.toFixed(1)}%`), kind: "number", title: "Published accuracy, where it was imported" },
  { name: "Parameters", key: (r) => r.params, cell: (r) => count(r.params), kind: "number" },
  { name: "Licence", key: (r) => r.license ?? "~", cell: (r) => r.license ?? "unknown", kind: "licence" },
  { name: "Weights", key: (r) => r.where, cell: (r) => (r.n_bytes ? `${r.where}, ${bytes(r.n_bytes)}` : r.where), kind: "where" },
].filter((column) => column.name !== "ImageNet top-1" || results.some((r) => r.top1 !== null));

function source(result) {
  const button = make("button", { type: "button", class: "source", "aria-pressed": "false", onclick: () => show(result, true) }, make("bdi", {}, result.name));
  result.button = button;
  return [button, make("div", { class: "soft small" }, [result.family, result.catalogue, result.dataset].filter(Boolean).join(" · "))];
}

function table() {
  let column = COLUMNS[0];
  let direction = 1;
  let words = [];
  const heads = COLUMNS.map((each) => make("th", { scope: "col", class: each.kind, title: each.title }, make("button", { type: "button", onclick: () => {
    direction = column === each ? -direction : 1;
    column = each;
    draw();
  } }, each.name)));
  const rows = new Map(results.map((result) => [result, make("tr", {}, ...COLUMNS.map((each) => make("td", { class: each.kind, "data-label": each.name }, each.cell(result))))]));
  const body = make("tbody");
  const told = make("span", { class: "soft", role: "status" });
  const search = make("input", { type: "search", placeholder: "Filter sources", "aria-label": "Filter sources by name, family or licence", autocomplete: "off", oninput: () => { words = search.value.toLowerCase().split(/\s+/).filter(Boolean); draw(); } });
  const here = make("input", { type: "checkbox", onchange: draw });
  const text = (r) => [r.name, r.family, r.catalogue, r.license ?? "unknown", r.benefit, r.where, r.task, r.dataset].join(" ").toLowerCase();
  function draw() {
    const compare = (a, b) => { const [x, y] = [column.key(a), column.key(b)]; return typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y; };
    const shown = results.filter((r) => words.every((word) => text(r).includes(word)) && (!here.checked || r.available)).sort((a, b) => direction * compare(a, b) || a.rank - b.rank);
    heads.forEach((head, i) => (COLUMNS[i] === column ? head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending") : head.removeAttribute("aria-sort")));
    body.replaceChildren(...shown.map((r) => rows.get(r)));
    told.textContent = shown.length < results.length ? `${shown.length} of ${plural(results.length, "source")}` : "";
  }
  draw();
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; words = []; draw(); view && view.clear(); }
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) { event.preventDefault(); search.focus(); }
  });
  return card(plural(results.length, "source"),
    make("div", { class: "row screen tools" }, search, make("label", {}, here, "weights on this machine"), told),
    make("div", { class: "scroll" }, make("table", { class: "sources" }, make("thead", {}, make("tr", {}, ...heads)), body)));
}

// One source at a time is looked at more closely; the best one at first.
const closer = make("div", { class: "closer" });
let view = null;
function show(result, isAsked) {
  for (const each of results) each.button.setAttribute("aria-pressed", String(each === result));
  const plan = data.plans[result.rank];
  view = null;
  closer.replaceChildren();
  const heading = make("section", { class: "card" }, make("h2", { tabindex: "-1" }, make("bdi", {}, result.name)), zoo.command(result.next, "Copies its parameters into your network and saves that as safetensors."));
  closer.append(heading);
  if (typeof plan === "string") heading.append(make("p", { class: "soft" }, `What it would feed is not shown: ${plan}`));
  else if (!plan) {
    const planned = results.filter((each) => data.plans[each.rank] && typeof data.plans[each.rank] !== "string");
    heading.append(make("p", { class: "soft" }, "What it would feed: ", make("code", {}, result.next.replace("zoo transfer", "zoo plan")), " with --html."),
      planned.length ? make("div", { class: "row" }, "Drawn here: ", ...planned.map((each) => make("button", { type: "button", onclick: () => show(each, true) }, each.name))) : null);
  } else {
    const model = zoo.model(plan.drawing);
    const chosen = zoo.filter(model);
    const drawn = card("What would feed what");
    const bar = zoo.filterBar(model, chosen, (depth) => view.unfoldTo(depth));
    heading.append(zoo.coverage(model));
    drawn.append(zoo.legend());
    closer.append(bar.element, drawn, zoo.freshCard(model));
    const made = zoo.diagram(drawn, model, chosen);
    view = { unfoldTo: made.unfoldTo, clear() { bar.clear(); made.clear(); } };
  }
  if (isAsked) { closer.scrollIntoView({ block: "start" }); heading.querySelector("h2").focus({ preventScroll: true }); }
}
main.append(table(), closer);
show(results.find((result) => data.plans[result.rank] && typeof data.plans[result.rank] !== "string") ?? best, false);
if (data.command) main.append(card("To make this again", zoo.command(data.command, zoo.made(data.versions))));
else main.append(make("p", { class: "soft" }, zoo.made(data.versions)));
