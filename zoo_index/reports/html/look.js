// What all pages share: their data, making elements of plain text, the dark mode button.
const data = JSON.parse(document.getElementById("data").textContent);

// Text of others only ever goes through here, as text.
function make(tag, attributes = {}, ...children) {
  const space = make.svg.has(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}
make.svg = new Set(["svg", "g", "path", "rect", "circle", "line", "text", "title"]);

function count(n) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (n >= size) return `${(n / size).toFixed(1)} ${unit}`;
  return String(n);
}

const number = (n) => n.toLocaleString("en-US");

// A noun as it stands behind a number; as noun() in counting.py.
function noun(n, word) {
  if (n === 1) return word;
  if (/(?<![aeiou])y$/.test(word)) return `${word.slice(0, -1)}ies`;
  return `${word}${word.endsWith("s") ? "es" : "s"}`;
}

const plural = (n, word) => `${number(n)} ${noun(n, word)}`;

// A number of bytes in the unit that suits it; as in_bytes() in page.py.
function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  while (n >= 1000 && units.length > 1) { n /= 1000; units.shift(); }
  return `${n.toFixed(units[0] === "B" ? 0 : 1)} ${units[0]}`;
}

function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1%";
  const shown = (100 * share).toFixed(1);
  return shown === "100.0" && share < 1 ? "99.9%" : `${shown}%`;
}

// Where weights are: those of a file that is not there are nowhere else, structures have none.
function where(isHere, catalogue) {
  if (catalogue === "transformers") return "none";
  return isHere ? "here" : catalogue === "local" || catalogue === "folder" ? "gone" : "hub";
}

// What a network is made of: blocks, and layers that are in none.
function madeOf(blocks, single) {
  const some = (n, word) => (n ? plural(n, word) : "");
  return [some(blocks, "block"), some(single, "single layer")].filter(Boolean).join(" and ") || "no layers";
}

// A part of an address as text; what is none is as if it were not there.
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return ""; }
}

const theme = document.getElementById("theme");
if (theme) {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const say = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(dark())); };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; say(); });
  say();
}

window.zoo = { data, make, count, number, noun, plural, bytes, percent, madeOf, where, decoded };
