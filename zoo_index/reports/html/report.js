// The page of one plan or transfer.
const { make, data, percent, number, plural, card } = zoo;
const model = zoo.model(data.drawing);
const chosen = zoo.filter(model);
const main = document.querySelector("main");
const found = zoo.totals(model.target.tensors);
const isDone = data.kind === "transfer";

document.getElementById("title").replaceChildren(
  ...model.sources.flatMap((source, i) => [i ? make("span", { class: "soft" }, " + ") : "", make("bdi", {}, source.name)]),
  make("span", { class: "soft" }, " → "), make("bdi", {}, model.target.name));

const bytes = [isDone ? `${data.seconds.toFixed(2)} s on ${data.device}` : "a plan: nothing was read or written", `method ${data.method}`];
if (data.output) bytes.push("saved to ");
document.getElementById("about").append(bytes.join(" · "), data.output ? make("bdi", { class: "mono" }, data.output) : "");

const fresh = found.size - found.written - found.elements.identity;
main.append(make("section", { class: "card hero" },
  make("div", { class: "figure" }, make("span", { class: "large" }, percent(data.coverage)), make("span", {}, ` of the target ${isDone ? "was" : "would be"} filled`)),
  zoo.coverage(model),
  make("div", { class: "tiles" },
    zoo.tile("Similarity", data.similarity.toFixed(3), data.expected || "How much the two networks have in common, from 0 to 1."),
    zoo.functionTile(data.function),
    zoo.tile("Left as initialised", percent(fresh / (found.size || 1)), `${number(fresh)} of ${plural(found.size, "element")}; ${plural(found.tensors.fresh, "tensor")} got nothing.`)),
  data.evidence ? make("details", { class: "evidence" }, make("summary", {}, "What the expectation rests on"), make("p", {}, data.evidence)) : null,
  data.note ? make("p", { class: "note warn" }, data.note) : null));

const drawn = card("What feeds what");
const bar = zoo.filterBar(model, chosen, (depth) => view.unfoldTo(depth));
drawn.append(zoo.legend());
main.append(bar.element, drawn);
const view = zoo.diagram(drawn, model, chosen);
main.append(zoo.freshCard(model), zoo.tensorTable(model, chosen));
if (data.command) main.append(card("To make this again", zoo.command(data.command, zoo.made(data.versions))));
else main.append(make("p", { class: "soft" }, zoo.made(data.versions)));

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { bar.clear(); view.clear(); }
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) { event.preventDefault(); bar.search.focus(); }
});
