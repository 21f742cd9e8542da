"""Draw the pictures of the documents: ``python docs/pictures.py`` writes docs/img/*.svg.

Each picture brings its own background and follows the reader's light or dark mode.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

IMAGES = Path(__file__).parent / "img"
STYLE = """
    .page { fill: #ffffff; stroke: #d5d9e2 }
    text { font: 13px system-ui, sans-serif; fill: #1f2430 }
    .small { font-size: 11.5px; fill: #5a6272 }
    .head { font-weight: 600 }
    .mono { font-family: ui-monospace, monospace; font-size: 12px }
    .box { fill: #eef1f7; stroke: #9aa4b8 }
    .source { fill: #cfe3fb; stroke: #3b7dd8 }
    .target { fill: #ffe6c7; stroke: #d98a1f }
    .good { fill: #bfe6cc; stroke: #2e9e5b }
    .fresh { fill: #f3f3f3; stroke: #8b8f99; stroke-dasharray: 4 3 }
    .zero { fill: #ffffff; stroke: #8b8f99 }
    .line { fill: none; stroke: #6b7488; stroke-width: 1.5 }
    .path { fill: none; stroke: #2e9e5b; stroke-width: 3; opacity: .45 }
    .ribbon { fill: #2e9e5b; stroke: none }
    .tip { fill: #6b7488 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #1e2129; stroke: #3a404d }
      text { fill: #e6e9f0 }
      .small { fill: #aab2c2 }
      .box { fill: #2c313d; stroke: #6b7488 }
      .source { fill: #1f3f66; stroke: #6aa5f0 }
      .target { fill: #5a3b12; stroke: #f0ab4f }
      .good { fill: #1d4a30; stroke: #58c98a }
      .fresh { fill: #262a33; stroke: #9aa1af }
      .zero { fill: #1e2129; stroke: #9aa1af }
      .line { stroke: #9aa4b8 }
      .path { stroke: #58c98a }
      .ribbon { fill: #58c98a }
      .tip { fill: #9aa4b8 }
    }
"""


class Picture:
    """An SVG that is drawn from left to right and from top to bottom."""

    def __init__(self, name: str, width: int, height: int, title: str) -> None:
        self.name, self.width, self.height, self.title = name, width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, kind: str = "box", text: str = "", r: int = 4) -> None:
        """Draw a rectangle, with a text in its middle."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r}" class="{kind}"/>')
        if text:
            self.text(x + w / 2, y + h / 2 + 4.5, text, anchor="middle")

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write one line."""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>')

    def line(self, *points: tuple[float, float], kind: str = "line", tip: bool = False) -> None:
        """Draw straight lines through points, with an arrow's tip at the end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        end = ' marker-end="url(#tip)"' if tip else ""
        self.parts.append(f'<polyline points="{path}" class="{kind}"{end}/>')

    def ribbon(
        self, x: float, top: float, bottom: float, x2: float, top2: float, bottom2: float, worth: float
    ) -> None:
        """Draw a band between two blocks, the stronger the more alike they are."""
        mid = (x + x2) / 2
        self.parts.append(
            f'<path class="ribbon" opacity="{0.15 + 0.5 * worth:.2f}" d="M{x:g},{top:g} C{mid:g},{top:g} {mid:g},'
            f"{top2:g} {x2:g},{top2:g} L{x2:g},{bottom2:g} C{mid:g},{bottom2:g} {mid:g},{bottom:g} {x:g},"
            f'{bottom:g} Z"/>'
        )

    def keep(self) -> None:
        """Write the file."""
        marker = '<marker id="tip" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{STYLE}</style>",
            f'<defs>{marker}<path d="M0,0 L8,4 L0,8 Z" class="tip"/></marker></defs>',
            f'<rect x=".5" y=".5" width="{self.width - 1}" height="{self.height - 1}" rx="8" class="page"/>',
            *self.parts,
            "</svg>",
        ]
        (IMAGES / f"{self.name}.svg").write_text("\n".join(lines) + "\n")


def overview() -> None:
    """Draw two networks as columns of blocks, and what feeds what."""
    p = Picture("overview", 640, 348, "A pretrained source, your target, and which block feeds which")
    p.text(120, 30, "source (pretrained)", "head", "middle")
    p.text(520, 30, "target (yours)", "head", "middle")
    sources = ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "classifier, 1000"]
    targets = [
        "stem",
        "stage 1",
        "stage 2, wider",
        "inserted block",
        "stage 3",
        "stage 4, narrower",
        "classifier, 10",
    ]
    tops, tops2 = [46 + 48 * i for i in range(6)], [46 + 42 * i for i in range(7)]
    for a, b, worth in ((0, 0, 1), (1, 1, 1), (2, 2, 0.5), (3, 4, 1), (4, 5, 0.5)):
        p.ribbon(210, tops[a], tops[a] + 34, 430, tops2[b], tops2[b] + 34, worth)
    for top, name in zip(tops, sources, strict=True):
        p.box(30, top, 180, 34, "source", name)
    for top, name in zip(tops2, targets, strict=True):
        kind = {"inserted block": "good", "classifier, 10": "fresh"}.get(name, "target")
        p.box(430, top, 180, 34, kind, name)
    p.text(422, 193, "passes its input on", "small", "end")
    p.text(422, 319, "starts random", "small", "end")
    p.keep()


def standardization() -> None:
    """From nested modules to an ordered list of blocks and layers."""
    p = Picture("standardization", 720, 306, "Nested modules become an ordered list of blocks of layers")
    p.text(24, 30, "modules, as the code nests them", "head")
    tree = (
        "Net",
        "  stem: Conv2d",
        "  body: Sequential",
        "    0: Block",
        "      conv1: Conv2d",
        "      norm1: BatchNorm2d",
        "      act: ReLU",
        "      conv2: Conv2d",
        "    1: Block",
        "      ...",
        "  head: Linear",
    )
    for i, line in enumerate(tree):
        p.text(28 + 9 * (len(line) - len(line.lstrip())), 58 + 21 * i, line.strip(), "mono")
    p.line((250, 150), (318, 150), tip=True)
    p.text(284, 140, "run once", "small", "middle")
    p.text(340, 30, "blocks of layers, in the order in which they run", "head")
    rows = [
        ("block stem", ["conv 32, 3, 3x3"]),
        ("block body.0", ["conv 64, 32, 3x3", "norm 64", "conv 32, 64, 1x1"]),
    ]
    rows += [
        ("block body.1", ["conv 64, 32, 3x3", "norm 64", "conv 32, 64, 1x1"]),
        ("block head", ["linear 10, 32"]),
    ]
    y = 46
    for name, layers in rows:
        height = 9 + 20 * len(layers)
        p.box(340, y, 350, height, "box")
        p.text(350, y + 19, name, "small")
        for i, layer in enumerate(layers):
            p.box(460, y + 6 + 20 * i, 220, 17, "target")
            p.text(468, y + 19 + 20 * i, layer, "mono")
        y += height + 10
    p.text(340, y + 14, "Names are kept for the report; matching does not read them.", "small")
    p.keep()


def matching() -> None:
    """Draw the table of scores, and the best way through it."""
    p = Picture("matching", 700, 320, "A table of scores of block pairs, and the best path through it")
    names, names2 = ["stem", "A1", "A2", "B1", "B2", "C1"], ["stem", "a1", "b1", "b2", "c1"]
    scores = [
        [1.0, 0.1, 0.1, 0.0, 0.0, 0.0],
        [0.1, 0.9, 0.9, 0.3, 0.3, 0.1],
        [0.0, 0.3, 0.3, 0.9, 0.8, 0.3],
        [0.0, 0.3, 0.3, 0.8, 0.9, 0.3],
        [0.0, 0.1, 0.1, 0.3, 0.3, 0.8],
    ]
    p.text(250, 28, "blocks of the source", "head", "middle")
    p.text(14, 92, "blocks", "head")
    p.text(14, 109, "of the", "head")
    p.text(14, 126, "target", "head")
    for j, name in enumerate(names):
        p.text(140 + 50 * j, 56, name, "small", "middle")
    for i, row in enumerate(scores):
        p.text(108, 92 + 46 * i, names2[i], "small", "end")
        for j, score in enumerate(row):
            x, y = 116 + 50 * j, 66 + 46 * i
            p.parts.append(
                f'<rect x="{x}" y="{y}" width="48" height="44" class="ribbon" opacity="{0.06 + 0.6 * score:.2f}"/>'
            )
            p.text(x + 24, y + 27, f"{score:.1f}", "mono", "middle")
    chosen = [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5)]
    p.line(*((140 + 50 * j, 88 + 46 * i) for i, j in chosen), kind="path")
    for i, j in chosen:
        p.box(117 + 50 * j, 67 + 46 * i, 46, 42, "line", r=6)
    for i, line in enumerate(
        (
            "Each cell: how alike two blocks are,",
            "from 0 to 1.",
            "",
            "The best path only goes right and",
            "down: the order stays. A2 is left out,",
            "because the target has one such",
            "block less.",
            "",
            "Dynamic programming finds the path",
            "with the largest sum. Inside each",
            "pair of blocks it does the same",
            "with layers.",
        )
    ):
        p.text(428, 76 + 19 * i, line, "small")
    p.keep()


def operators() -> None:
    """Draw the six things that can happen to a tensor."""
    p = Picture("operators", 720, 400, "Copied, cropped, grown, resampled, identity, fresh")
    panels = (
        ("copied", "equal shapes"),
        ("cropped", "target is smaller"),
        ("grown", "target is larger"),
        ("resampled", "another grid"),
        ("identity", "only the target has it"),
        ("fresh", "nothing suits"),
    )
    for n, (name, when) in enumerate(panels):
        x, y = 20 + 234 * (n % 3), 16 + 190 * (n // 3)
        p.box(x, y, 222, 178, "box", r=6)
        p.text(x + 12, y + 22, name, "head")
        p.text(x + 210, y + 22, when, "small", "end")
        left, right, top = x + 18, x + 130, y + 46
        if name in ("copied", "cropped", "grown", "resampled"):
            p.line((x + 94, y + 84), (x + 122, y + 84), tip=True)
        if name == "copied":
            p.box(left, top, 72, 72, "source")
            p.box(right, top, 72, 72, "source")
            p.text(x + 12, y + 150, "All values are taken.", "small")
        elif name == "cropped":
            p.box(left, top, 72, 72, "zero")
            for dx, dy in ((0, 0), (27, 0), (54, 0), (0, 36), (27, 36), (54, 36)):
                p.box(left + dx, top + dy, 18, 36, "source", r=0)
            p.box(right + 9, top, 54, 72, "source")
            p.text(x + 12, y + 150, "The channels that matter most", "small")
            p.text(x + 12, y + 165, "to what reads them are kept.", "small")
        elif name == "grown":
            p.box(left + 11, top + 11, 50, 50, "source")
            p.box(right, top, 72, 72, "fresh")
            p.box(right + 50, top, 22, 50, "zero", "0", r=0)
            p.box(right, top, 50, 50, "source", r=0)
            p.text(x + 12, y + 150, "New inputs count zero at first;", "small")
            p.text(x + 12, y + 165, "new outputs start random.", "small")
        elif name == "resampled":
            for i in range(3):
                for j in range(3):
                    p.box(left + 24 * i, top + 24 * j, 24, 24, "source", r=0)
            for i in range(4):
                for j in range(4):
                    p.box(right + 18 * i, top + 18 * j, 18, 18, "source", r=0)
            p.text(x + 12, y + 150, "For example position embeddings", "small")
            p.text(x + 12, y + 165, "for another image size.", "small")
        elif name == "identity":
            p.line((x + 24, y + 92), (x + 70, y + 92), tip=True)
            p.box(x + 74, y + 76, 74, 32, "good", "block")
            p.line((x + 40, y + 92), (x + 40, y + 54), (x + 176, y + 54), (x + 176, y + 84), tip=True)
            p.line((x + 148, y + 92), (x + 166, y + 92))
            p.text(x + 157, y + 112, "0", "mono", "middle")
            p.text(x + 176, y + 97, "+", "head", "middle")
            p.line((x + 184, y + 92), (x + 204, y + 92), tip=True)
            p.text(x + 12, y + 150, "The branch gives zero: the block", "small")
            p.text(x + 12, y + 165, "returns its input at first.", "small")
        else:
            p.box(right - 60, top, 72, 72, "fresh", "random")
            p.text(x + 12, y + 150, "For example the classifier of", "small")
            p.text(x + 12, y + 165, "other classes.", "small")
    p.keep()


def ranking() -> None:
    """Similarity and coverage of three sources."""
    p = Picture("ranking", 700, 264, "Coverage and similarity of three sources for one target")
    p.text(24, 30, "what a source fills of the target (coverage), and what of it stays unused", "head")
    rows = (
        ("a source of the same kind", 190, 180, 180, "coverage high, little unused: similarity high"),
        ("a huge source", 190, 188, 420, "coverage highest, most is unused: similarity low"),
        ("another kind of network", 190, 50, 150, "coverage low: similarity low"),
    )
    for i, (name, target, used, size, told) in enumerate(rows):
        y = 50 + 68 * i
        p.text(24, y + 27, name)
        p.box(230, y + 4, size, 36, "source")
        p.box(230, y + 10, target, 24, "target")
        p.box(230, y + 10, used, 24, "good")
        p.text(230, y + 56, told, "small")
    p.text(676, 250, "green: filled, orange: not filled, blue: unused", "small", "end")
    p.keep()


def finding() -> None:
    """From many architectures to ten answers."""
    p = Picture(
        "finding", 720, 220, "From a million architectures by vectors to 500 candidates, by exact scores to ten"
    )
    steps = (
        ("all architectures", "up to a million and more", "source"),
        ("500 candidates", "nearest vectors", "source"),
        ("exact ranking", "dynamic programming", "good"),
        ("ten answers", "with plans and coverage", "target"),
    )
    for i, (name, how, kind) in enumerate(steps):
        x = 20 + 178 * i
        height = (120, 84, 60, 42)[i]
        p.box(x, 92 - height / 2, 146, height, kind, name)
        p.text(x + 73, 172, how, "small", "middle")
        if i:
            p.line((x - 32, 92), (x - 4, 92), tip=True)
    p.line((93, 182), (93, 200), (449, 200), (449, 184), tip=True)
    p.text(271, 195, "up to 4096 architectures: all of them, without vectors", "small", "middle")
    p.keep()


def architecture() -> None:
    """Draw the way of the data through the folders."""
    p = Picture("architecture", 760, 430, "The way of the data through the folders of the code")
    p.box(14, 12, 732, 196, "zero", r=8)
    p.text(28, 34, "zoo_index: knows the pretrained networks, may import transfer", "head")
    p.box(14, 222, 732, 194, "zero", r=8)
    p.text(28, 244, "transfer: the algorithm, knows no zoo", "head")
    top = (
        ("catalogues", "list networks"),
        ("jobs, engines", "read new networks"),
        ("database", "keep the truth"),
    )
    top += (("index", "vectors, snapshot"), ("recommending", "rank for a target"))
    for i, (name, what) in enumerate(top):
        x = 28 + 144 * i
        p.box(x, 48, 128, 56, "source")
        p.text(x + 64, 72, name, "head", "middle")
        p.text(x + 64, 91, what, "small", "middle")
        if i:
            p.line((x - 16, 76), (x - 3, 76), tip=True)
    bottom = (
        ("hub", "download weights"),
        ("contained", "run user code apart"),
        ("transferring", "open, fill, save"),
    )
    bottom += (("reports", "tables, pages"), ("commands", "and server"))
    for i, (name, what) in enumerate(bottom):
        x = 28 + 144 * i
        p.box(x, 134, 128, 56, "box")
        p.text(x + 64, 158, name, "head", "middle")
        p.text(x + 64, 177, what, "small", "middle")
    rows = (
        (("tracing", "run without values"), ("structure", "blocks and layers"), ("alignment", "match and score")),
        (("planning", "one row a tensor"), ("execution", "write, prove, report")),
    )
    places = [(28, 0, 0), (206, 0, 1), (384, 0, 2), (562, 1, 0)]
    for x, row, i in places:
        name, what = rows[row][i]
        p.box(x, 260, 158, 56, "good")
        p.text(x + 79, 284, name, "head", "middle")
        p.text(x + 79, 303, what, "small", "middle")
        if x > 28:
            p.line((x - 20, 288), (x - 3, 288), tip=True)
    p.box(562, 346, 158, 56, "good")
    p.text(641, 370, "execution", "head", "middle")
    p.text(641, 389, "write, prove, report", "small", "middle")
    p.line((641, 316), (641, 343), tip=True)
    p.box(28, 346, 158, 56, "target")
    p.text(107, 370, "weights", "head", "middle")
    p.text(107, 389, "files, read inertly", "small", "middle")
    p.line((186, 374), (559, 374), tip=True)
    p.text(374, 366, "only the parts that the plan names", "small", "middle")
    p.line((107, 346), (107, 332), (285, 332), (285, 319), tip=True)
    p.text(292, 334, "names and shapes", "small")
    p.text(548, 401, "channels, growth, narrowing, resampling, equivalence", "small", "end")
    p.keep()


def draw_all() -> None:
    """Draw every picture."""
    for draw in (overview, standardization, matching, operators, ranking, finding, architecture):
        draw()


if __name__ == "__main__":
    draw_all()
