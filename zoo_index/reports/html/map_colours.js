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
const hasColour = (family) => family < N_COLOURS;
const colourOf = (family) => (hasColour(family) ? (isDark() ? DARK : LIGHT)[family] : palette.other);

// The page goes dark with the reader's system, or by its button.
function recolour() {
  readPalette();
  if (atlas.map) atlas.listeners.forEach((listener) => listener());
}
new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
readPalette();

Object.assign(atlas, { palette, hasColour, colourOf });
