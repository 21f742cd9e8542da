// The colours of families and of the page, light and dark.
const { atlas } = zoo;
const LIGHT = ["#3f6fb5", "#cf5f3c", "#4c9a5b", "#8d5cb4", "#b98a12", "#1f9aa0", "#c04e80", "#7b6a52", "#6a86dd", "#7f9c2a", "#a8423f", "#3f8672", "#b070cc", "#d5883a", "#2c6c96", "#d97f9c", "#5c5fae", "#98a857", "#b56b45", "#62a09b"];
const DARK = ["#7aa5e8", "#f0906e", "#7cca8a", "#bd92e6", "#e3bd55", "#5accd1", "#ee86b1", "#bca98d", "#9db2ff", "#b4d05e", "#e57f7a", "#78c2ab", "#d6a0ee", "#f3b26f", "#5aa2d0", "#f3adc2", "#9a9df0", "#c9d58d", "#e0a07c", "#98cfca"];
const N_COLOURS = LIGHT.length;

const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const palette = {};
function readPalette() {
  const probe = document.createElement("i");
  document.body.append(probe);
  const colour = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  Object.assign(palette, { page: colour("--card"), ink: colour("--ink"), soft: colour("--soft"), line: colour("--line"), mark: colour("--mark"), other: isDark() ? "#8b939e" : "#8d939b" });
  palette.font = getComputedStyle(document.body).fontFamily;
  probe.remove();
}

// The largest families have colours. A smaller one gets one while it is chosen or pointed at: one that none of those has.
let lent = new Map();
function lend() {
  const asked = [...new Set([...atlas.chosen, ...atlas.lit])];
  const free = LIGHT.map((_, i) => i).filter((i) => !asked.includes(i));
  const before = lent;
  lent = new Map();
  for (const family of asked.filter((one) => one >= N_COLOURS)) {
    const kept = free.indexOf(before.get(family));
    const [colour] = free.splice(Math.max(kept, 0), 1);
    if (colour !== undefined) lent.set(family, colour);
  }
}
const numberOf = (family) => (family < N_COLOURS ? family : lent.get(family));
const hasColour = (family) => numberOf(family) !== undefined;
const colourOf = (family) => (hasColour(family) ? (isDark() ? DARK : LIGHT)[numberOf(family)] : palette.other);

// The page goes dark with the reader's system, or by its button.
function recolour() {
  readPalette();
  if (atlas.map) atlas.listeners.forEach((listener) => listener());
}
new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
readPalette();

atlas.listeners.push(lend);
Object.assign(atlas, { N_COLOURS, palette, lend, hasColour, colourOf });
