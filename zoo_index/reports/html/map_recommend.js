// Finding sources: for a name of the index, an architecture in JSON, or the header of a safetensors file.
const { make, count, noun, plural, percent } = zoo;
const { ask, pageOf, complain, calm, problem } = zoo.server;
const at = (id) => document.getElementById(id);
const MOST_HEADER = 8e6;
at("question").after(problem); // beside what it is about

for (const [text, value] of [["any", ""], ["5 M", 5e6], ["10 M", 1e7], ["25 M", 2.5e7], ["50 M", 5e7], ["100 M", 1e8], ["300 M", 3e8]])
  at("most").append(make("option", { value }, text));

async function header(file) {
  const length = new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true);
  if (length > MOST_HEADER) throw new Error("That is no safetensors file, or its header is larger than the server takes.");
  const text = await file.slice(8, 8 + Number(length)).text();
  let found;
  try { found = JSON.parse(text); } catch { throw new Error("That is no safetensors file: its header cannot be read."); }
  return shapesOf(found);
}

// Names, types and shapes, and the order of the names; what else people write into a file is theirs.
function shapesOf(found) {
  const { __metadata__: metadata, ...tensors } = found;
  const sent = Object.fromEntries(Object.entries(tensors).map(([name, told]) => [name, { dtype: told?.dtype, shape: told?.shape }]));
  const order = metadata?.["zoo.order"];
  return order === undefined ? sent : { ...sent, __metadata__: { "zoo.order": order } };
}

// As a shell wants it.
const quoted = (text) => (/^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

function check(file) {
  if (/\.(safetensors|json)$/i.test(file.name)) return;
  throw new Error(`${file.name}: expected a .safetensors file or what zoo standardize wrote; run zoo standardize -t ${quoted(file.name)} -o arch.json first`);
}

async function target() {
  const file = at("file").files[0];
  if (!file) {
    const name = at("name").value.trim();
    if (!name) throw new Error("Type a name of the index, or choose a file.");
    return { name };
  }
  check(file);
  if (/\.safetensors$/i.test(file.name)) return { header: await header(file) };
  if (file.size > MOST_HEADER) throw new Error("The file is larger than the server takes.");
  let found;
  try { found = JSON.parse(await file.text()); } catch { throw new Error("The file holds no JSON; write one with: zoo standardize"); }
  const { name, n_params, forms } = Object(found);
  return { architecture: { name, n_params, forms } };
}

function filters() {
  const found = {};
  if (at("license").value) found.license = at("license").value;
  if (at("most").value) found.max_params = Number(at("most").value);
  if (at("available").checked) found.available = true;
  return found;
}

const TONE = { strong: "copied", some: "cropped", none: "grown", "likely to hurt": "fresh" };

// What to make of it, and what to do next.
function verdict(answer) {
  const told = answer.advice;
  if (!told) return [make("p", { class: "soft" }, "The benefit of none of them is known.")];
  const next = told.is_useful ? make("div", { class: "next" }, make("p", { class: "soft" }, "Next, on your machine, see what would be copied:"),
    make("pre", {}, make("code", {}, `zoo plan -t YOUR_NETWORK -s ${quoted(told.source)}`))) : null;
  return [make("p", { class: `advice ${TONE[told.benefit] || ""}` }, told.text), next];
}

function show(answer, called) {
  const t = answer.target, best = answer.results.find((one) => answer.advice && one.rank === answer.advice.rank);
  const rows = answer.results.map((one) => make("tr", {},
    make("td", { class: "number" }, String(one.rank)),
    make("td", { class: "name-of" }, make("a", { href: pageOf(`${one.catalogue}:${one.architecture}`), class: "mono break" }, one.name)),
    make("td", { class: "wide" }, make("span", { class: "meter", "aria-hidden": "true" }, make("span", { style: `width:${Math.round(100 * one.similarity)}%` })),
      make("span", { class: "value" }, one.similarity.toFixed(3))),
    make("td", { class: "wide" }, one.benefit ? make("span", { class: `tag ${TONE[one.benefit] || ""}` }, one.benefit) : "–"),
    make("td", { class: "number" }, percent(one.coverage)),
    make("td", { class: "number" }, count(one.params)),
    make("td", { class: "wide" }, one.license || "unknown"),
    make("td", {}, zoo.where(one.available, one.catalogue))));
  const columns = [["#", "number"], ["Source", ""], ["Similarity", ""], ["Benefit", ""], ["Coverage", "number"], ["Parameters", "number"], ["Licence", ""], ["Weights", ""]];
  const table = make("table", { class: "ranking" }, make("thead", {}, make("tr", {}, columns.map(([text, kind]) => make("th", { class: kind }, text)))), make("tbody", {}, rows));
  at("answer").replaceChildren(make("div", { class: "card" },
    make("h2", {}, "Sources for ", make("span", { class: "mono" }, called || t.name)),
    make("p", { class: "soft" }, `${count(t.params)} ${noun(t.params, "parameter")}, ${plural(t.layers, "layer")}, ${t.blocks ? zoo.madeOf(t.blocks, t.single_layers) : "no blocks"}; ${plural(answer.n_considered, "architecture")} considered`),
    ...verdict(answer),
    make("div", { class: "scroll" }, table),
    best && best.evidence ? make("p", { class: "soft evidence" }, `Row ${best.rank}, `, make("span", { class: "mono break" }, best.name), `, has the benefit “${best.benefit}”: ${best.evidence}.`) : null));
}

// What was said of another file or name does not hold for this one.
function taken() {
  const [file] = at("file").files;
  calm();
  if (!file) return;
  at("name").value = "";
  try { check(file); } catch (error) { complain(error); }
}
at("file").addEventListener("change", taken);
at("name").addEventListener("input", () => { at("file").value = ""; calm(); });
const drop = at("drop");
for (const kind of ["dragover", "dragleave", "drop"])
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) { at("file").files = event.dataTransfer.files; taken(); }
  });

let running = null;
at("question").addEventListener("submit", async (event) => {
  event.preventDefault();
  calm();
  if (running) running.abort();
  running = new AbortController();
  at("answer").replaceChildren(make("p", { class: "soft" }, "Comparing …"));
  const file = at("file").files[0];
  try {
    const body = JSON.stringify({ ...(await target()), k: Number(at("k").value), filters: filters() });
    const answer = await ask("api/recommend", { method: "POST", headers: { "Content-Type": "application/json" }, body }, running.signal);
    show(answer, file ? file.name : "");
  } catch (error) {
    at("answer").replaceChildren();
    // the name of a file is not sent: the server calls what it holds the target
    const isNamed = !file || !error.message.includes("'target'");
    complain(isNamed ? error : new Error(error.message.replaceAll("'target'", () => `'${file.name}'`)));
  }
});

// A name in the address is asked for at once: /recommend#resnet18, or /recommend?name=resnet18.
const wanted = location.hash.length > 1 ? zoo.decoded(location.hash.slice(1)) : new URLSearchParams(location.search).get("name");
if (wanted) {
  at("name").value = wanted;
  at("question").requestSubmit();
}
