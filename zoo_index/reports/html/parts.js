// Pieces that several pages have: cards, a command to copy, the words for what was found.
const { make, percent, number, plural } = zoo;

const MOST_REASONS = 40;

const card = (title, ...children) => make("section", { class: "card" }, title ? make("h2", {}, title) : null, ...children);

function command(text, about = "") {
  const code = make("code", {}, text);
  const told = make("span", { class: "soft", role: "status" });
  const button = make("button", { type: "button", class: "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      told.textContent = "copied";
    } catch { // a file that was opened from disk may not be allowed to
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      told.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl+C";
    }
    setTimeout(() => { told.textContent = ""; }, 3000);
  } }, "Copy");
  return make("div", { class: "command" }, make("pre", {}, code), make("div", { class: "row screen" }, button, told), about ? make("p", { class: "soft" }, about) : null);
}

const tile = (name, value, words, kind = "") => make("div", { class: `tile ${kind}` }, make("div", { class: "soft" }, name), make("div", { class: "value" }, value), make("div", { class: "words" }, words));

function functionTile(found) {
  if (!found) return tile("Same function?", "Not tried", "A plan reads no weights. zoo transfer runs both networks in the end and compares what they return.");
  const size = found.difference === null ? "" : found.difference ? `outputs differ by at most ${Number(found.difference.toPrecision(1))} of the largest` : "outputs are the same to the last bit";
  const alike = found.correlation === null ? "" : `outputs correlate by ${found.correlation.toFixed(2)}`;
  const figures = [alike, size].filter(Boolean).join(", ");
  const told = figures && `: ${figures}`;
  const words = {
    equal: ["Equal", `Yours computes what its source computes${size && `: ${size}`}.`],
    near: ["Near", `Yours computes nearly what its source computes${told}.`],
    other: ["Different", `Yours does not compute what its source computes${told}. Training has to do the rest.`],
    unknown: ["Unknown", "It is not known whether yours computes what its source computes."],
  }[found.verdict];
  const why = found.reason ? `${found.reason[0].toUpperCase()}${found.reason.slice(1)}.` : "";
  return tile("Same function?", words[0], [words[1], why].filter(Boolean).join(" "), `function-${found.verdict}`);
}

// What happened, in one bar with its words.
function coverage(model) {
  const found = zoo.totals(model.target.tensors);
  const whole = found.size || 1;
  const told = zoo.STATUSES.filter((status) => found.tensors[status]);
  return make("div", { class: "coverage" },
    zoo.bar(zoo.pieces(found, model.target.tensors), told.map((status) => `${status} ${percent(found.elements[status] / whole)}`).join(", ")),
    make("dl", { class: "statuses" }, ...told.map((status) => make("div", {},
      make("dt", { class: `tag ${status}` }, status),
      make("dd", {}, make("b", {}, percent(found.elements[status] / whole)), ` ${plural(found.tensors[status], "tensor")}`, make("span", { class: "soft" }, zoo.MEANINGS[status])))))
  );
}

// What stayed fresh, by reason; what is filled only in part comes after it.
function freshCard(model) {
  const groups = (wanted) => {
    const found = new Map();
    for (const tensor of model.target.tensors) {
      if (!wanted(tensor)) continue;
      const reason = tensor.tied ? "another name of a tensor that is counted there" : wordsOf(tensor);
      if (!found.has(reason)) found.set(reason, []);
      found.get(reason).push(tensor);
    }
    const size = (tensors) => tensors.reduce((sum, one) => sum + one.counted - one.written, 0);
    return [...found].map(([reason, tensors]) => ({ reason, tensors, size: size(tensors) })).sort((a, b) => b.size - a.size);
  };
  // numbers differ from tensor to tensor where the reason is the same
  const wordsOf = (tensor) => (tensor.status === "grown" ? "grown: the source is smaller" : tensor.reason || "nothing in the source corresponds to it");
  const whole = model.target.tensors.reduce((sum, one) => sum + one.counted, 0) || 1;
  const list = (found) => make("ul", { class: "reasons" }, ...found.slice(0, MOST_REASONS).map(({ reason, tensors, size }) => make("li", {},
    make("details", {},
      make("summary", {}, make("span", { class: "reason" }, reason), make("span", { class: "soft amount" }, `${plural(tensors.length, "tensor")}, ${plural(size, "element")}, ${percent(size / whole)}`)),
      make("ul", { class: "names" }, ...tensors.slice(0, 200).map((one) => make("li", {}, make("bdi", { class: "mono" }, one.name), make("span", { class: "soft" }, ` ${one.shape}`))),
        tensors.length > 200 ? make("li", { class: "soft" }, `and ${number(tensors.length - 200)} more`) : null)))),
    found.length > MOST_REASONS ? make("li", { class: "soft" }, `and ${plural(found.length - MOST_REASONS, "more reason")}`) : null);
  const fresh = groups((tensor) => tensor.status === "fresh");
  const part = groups((tensor) => tensor.status === "grown" && tensor.written < tensor.size);
  return card("What stayed fresh, and why",
    fresh.length ? list(fresh) : make("p", { class: "soft" }, "Nothing: every tensor got something of the source, or was set to change nothing."),
    part.length ? make("h3", {}, "Filled in part") : null, part.length ? list(part) : null);
}

document.getElementById("print").addEventListener("click", () => print());

const made = (versions) => `Made with ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")}.`;

Object.assign(zoo, { card, command, tile, functionTile, coverage, freshCard, made });
