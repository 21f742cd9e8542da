// What of the target's tensors the reader wants to see: text, and what happened to them.
const { make, number, plural } = zoo;

function filter(model) {
  const statuses = new Set();
  const listeners = [];
  let words = [];
  let found = null; // the tensors that pass, while a filter is set
  const text = (tensor) => (tensor.text ??= [
    tensor.name, tensor.shape, tensor.status, tensor.operator, tensor.reason,
    ...tensor.links.flatMap((link) => [link.source.name, link.source.shape, link.source.side.name]),
  ].join(" ").toLowerCase().replaceAll("×", "x"));
  const one = {
    isSet: false,
    admits: (tensor) => !found || found.has(tensor),
    onchange: (listener) => listeners.push(listener),
    change() {
      one.isSet = words.length > 0 || statuses.size > 0;
      found = one.isSet
        ? new Set(model.target.tensors.filter((tensor) => (!statuses.size || statuses.has(tensor.status)) && words.every((word) => text(tensor).includes(word))))
        : null;
      listeners.forEach((listener) => listener());
    },
    search(typed) { words = typed.toLowerCase().replaceAll("×", "x").split(/\s+/).filter(Boolean); one.change(); },
    toggle(status) { statuses.has(status) ? statuses.delete(status) : statuses.add(status); one.change(); },
    only(...wanted) { statuses.clear(); wanted.forEach((status) => statuses.add(status)); one.change(); },
    has: (status) => statuses.has(status),
    clear() { statuses.clear(); words = []; one.change(); },
    get n() { return found ? found.size : model.target.tensors.length; },
  };
  return one;
}

// The controls that set it; they stay at the top of the window.
function filterBar(model, chosen, unfold) {
  const counts = zoo.totals(model.target.tensors).tensors;
  const search = make("input", { type: "search", placeholder: "Filter tensors", "aria-label": "Filter tensors by name, shape or reason", autocomplete: "off", spellcheck: "false", oninput: () => chosen.search(search.value) });
  const chips = zoo.STATUSES.filter((status) => counts[status]).map((status) => {
    const chip = make("button", { type: "button", class: `chip ${status}`, title: zoo.MEANINGS[status], "aria-pressed": "false", onclick: () => chosen.toggle(status) }, make("span", { class: "swatch" }), `${status} `, make("span", { class: "soft" }, number(counts[status])));
    chip.status = status;
    return chip;
  });
  const clear = make("button", { type: "button", class: "clear", onclick: () => { search.value = ""; chosen.clear(); search.focus(); } }, "Clear");
  const told = make("span", { class: "told soft", role: "status" });
  const { isStaged } = model;
  const levels = (isStaged ? ["Stages", "Blocks", "Layers", "Tensors"] : ["Blocks", "Layers", "Tensors"]).map((name, i) => make("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
    levels.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
    unfold(isStaged ? i : i + 1);
  } }, name));
  const element = make("div", { class: "filter-bar screen" },
    make("div", { class: "segments", role: "group", "aria-label": "Unfold everything to" }, ...levels),
    search, make("div", { class: "chips", role: "group", "aria-label": "Only tensors that are" }, ...chips), clear, told);
  const say = () => {
    chips.forEach((chip) => chip.setAttribute("aria-pressed", String(chosen.has(chip.status))));
    clear.hidden = !chosen.isSet;
    told.textContent = chosen.isSet ? `${number(chosen.n)} of ${plural(model.target.tensors.length, "tensor")}` : "";
  };
  chosen.onchange(say);
  say();
  return { element, search, clear() { search.value = ""; chosen.clear(); } };
}

Object.assign(zoo, { filter, filterBar });
