"""Write docs/quality.md, its plots, and results/quality.json and .csv, from the rows of all parts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from _common import RESULTS, save
from _peer import VERSION
from _writing import keep_page, origin, result, table

from quality import plots, verdicts
from quality import real_weights as real
from quality.figures import Parts, figures
from quality.jobs import N_PRETRAIN, N_TEST
from quality.recommender import SUITED
from quality.training import BATCH, N_DURING, RATE, STEPS
from zoo_index.recommending.verdicts import Calibration

TRIED = Path(__file__).with_name("tried.md")
COLUMNS = ("part", "setting", "source", "target", "method", "seed", "probe")
ORDER = ("random", "same name", "weight selection", "iatransfer", "paper", "dpiat")


def write_report(parts: Parts) -> None:
    """Compute and keep everything."""
    write_rows(parts)
    found = figures(parts)
    save("quality", found)
    verdicts.keep([Calibration(**each) for each in found["verdicts"]])
    write_page()


def write_rows(parts: Parts) -> None:
    """Write one line for each start."""
    steps = sorted({int(step) for rows in parts.values() for row in rows for step in row["accuracy"]})
    with (RESULTS / "quality.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(f"accuracy_{step}" for step in steps)])
        for part, rows in parts.items():
            for row in rows:
                values = [row["accuracy"].get(str(step)) for step in steps]
                numbers = ["" if value is None else f"{value:.4f}" for value in (row["probe"], *values)]
                writer.writerow([part, *(row.get(key, "") for key in COLUMNS[1:-1]), *numbers])


def write_page() -> None:
    """Write the document and its plots from results/quality.json."""
    found = result("quality")
    plots.draw(found)
    sections = (head, reached, side_by_side, by_family, hurting, labels, real_weights, ablations, recommending)
    keep_page("quality", "\n".join(section(found) for section in sections) + "\n" + TRIED.read_text())


def head(found: dict[str, Any]) -> str:
    sizes = found["networks"]
    return f"""# Quality: does it help?

A network that starts from a pretrained one is trained beside the same network from random initialisation. This page
says how much faster it learns, and where it does not.

In short, for a source of the same family:

{in_short(found["within"])}

From a network of another family there is little to gain, and sometimes something to lose. For classes that the
source has not seen the gain is smaller. Both are measured below.

## How it is measured

There are {found["starts"]:,} comparisons; equal starts are trained once. {origin(found, "torch", "timm")}

- **Data.** Fashion-MNIST, in disjoint halves, one for the sources and one for the targets. Accuracy is that on
  {N_TEST} images of the test set before the first step, and on {N_DURING} of them after it.
- **Networks.** {len(sizes)} small ones of timm's own classes in five families, {min(sizes.values()) / 1e6:.1f} to
  {max(sizes.values()) / 1e6:.1f} million parameters, in several widths and depths (`quality/networks.py`).
  Sources learn for {N_PRETRAIN} steps.
- **Training.** Targets learn with AdamW at {RATE:g}, whatever the start, {BATCH} images a step, up to
  {STEPS[-1]} steps. Accuracy is measured at the steps {", ".join(str(step) for step in STEPS)}: these are the
  numbers in the heads of the tables.
- **Probe.** A ridge classifier (a linear one) on what the untrained target's classifier would see. It tells how
  good the features are before any training.
- **Seeds.** {found["seeds"]} seeds of initialisation and order of the data. Intervals are 95 %, over pairs
  (bootstrap).
- **Wins and losses** are pairs that differ significantly (paired t-test over seeds, variance pooled over the
  pairs of a family, 5 % on each side).
- **iatransfer** is the published package itself, version {VERSION}. `paper` is our reproduction of it: the
  accuracies are the same wherever both choose the same of several equal alignments.

The page is written by `make bench-quality` (`benchmarks/quality`). It takes up where it was stopped and needs about
{found["core_seconds"] / 3600:.0f} hours of one core for training. Every start is a line of
`benchmarks/results/quality.csv`.
"""


def in_short(within: dict[str, Any]) -> str:
    steps = ("0", "20", "100", "400")
    names = {"random": "random initialisation", "paper": "the published method", "dpiat": "`dpiat`, the default"}
    rows = [
        [name, *(f"{within[method]['accuracy'][step]['mean']:.2f}" for step in steps)]
        for method, name in names.items()
    ]
    return table(["mean accuracy, by steps of training", *steps], rows)


def reached(found: dict[str, Any]) -> str:
    rows = [
        [name, signed(name, value), f"{between[0]:.2f} to {between[1]:.2f}" if between else "", wanted(found, name)]
        for name, (value, between) in found["reached"].items()
    ]
    n = found["within"]["dpiat"]["n_pairs"]
    return f"""## `dpiat` in figures

All {n} ordered pairs of two networks of one family. "Wanted" is the aim that was set before. "Times iatransfer" is
the accuracy divided by that of a start by iatransfer.

{table(["", "measured", "interval", "wanted"], rows)}
"""


def wanted(found: dict[str, Any], name: str) -> str:
    limit = found["limits"][name]
    return signed(name, limit) if name.startswith("pairs") else f"at least {signed(name, limit)}"


def signed(name: str, value: float) -> str:
    if name.startswith("pairs"):
        return str(int(value))
    return f"{value:.2f}" if name.startswith("times") else f"{value:+.3f}"


def side_by_side(found: dict[str, Any]) -> str:
    within = found["within"]
    return f"""## Ways to start, side by side

Mean accuracy over pairs of one family; wins and losses against random initialisation of the same target.

{curves(within)}

![Accuracy by step](img/quality.svg)

"Same name" copies what has equal names and shapes. Weight selection (arXiv 2311.18823) wants a source of the same
names, larger in every tensor. So it applies to {within["weight selection"]["n_pairs"]} pairs, on which `dpiat`
may be compared with it:

{selection(found)}
"""


def selection(found: dict[str, Any]) -> str:
    rows = found["selection"]
    lines = [
        [name, *(f"{value:.3f}" for value in each["accuracy"]), f"{each['probe']:.3f}"]
        for name, each in rows.items()
    ]
    return table(["", *(str(step) for step in STEPS), "probe"], lines)


def curves(methods: dict[str, Any]) -> str:
    steps = list(methods["random"]["accuracy"])
    lines = []
    for name in sorted(methods, key=lambda each: ORDER.index(each) if each in ORDER else len(ORDER)):
        own = methods[name]
        steps_of = own["accuracy"]
        values = [f"{steps_of[step]['mean']:.3f}" if step in steps_of else "" for step in steps]
        low, high = own["probe"]["interval"]
        against = own.get("against random", {})
        record = [f"{each['wins']}/{each['losses']}" for step in ("20", "400") if (each := against.get(step))]
        lines.append(
            [
                f"`{name}`" if name in ("paper", "dpiat") or "=" in name else name,
                str(own["n_pairs"]) if name != "random" else "",
                *values,
                f"{own['probe']['mean']:.3f} ({low:.2f}-{high:.2f})",
                ", ".join(record),
            ]
        )
    return table(["start", "pairs", *steps, "probe", "wins/losses at 20, 400"], lines)


def by_family(found: dict[str, Any]) -> str:
    lines = []
    for name, methods in found["families"].items():
        for method in ("random", "iatransfer", "dpiat"):
            own = methods[method]["accuracy"]
            shown = [f"{own[step]['mean']:.3f}" for step in ("0", "20", "50", "100", "400")]
            lines.append([name, method, *shown, f"{methods[method]['probe']['mean']:.3f}"])
    return f"""## By family

{table(["family", "start", "0", "20", "50", "100", "400", "probe"], lines)}

![By family](img/quality-families.svg)
"""


def hurting(found: dict[str, Any]) -> str:
    lines = [
        [step, each["pair"], f"{each['difference']:+.3f}"]
        for step, worst in found["hurt"].items()
        for each in worst
    ]
    across = found["across"]
    weakest = sorted(found["pairs"], key=lambda pair: pair["dpiat"]["20"])[:8]
    shown = [
        [
            f"{pair['source']} to {pair['target']}",
            *(f"{pair[m][step]:.3f}" for step in ("0", "20", "400") for m in ("random", "iatransfer", "dpiat")),
        ]
        for pair in weakest
    ]
    heads = [f"{step} {m}" for step in ("0", "20", "400") for m in ("random", "iatransfer", "dpiat")]
    said = (
        table(["step", "pair", "less than random"], lines)
        if lines
        else "On no pair, at no step, is `dpiat` significantly worse than random initialisation."
    )
    return f"""## Where it hurts, and where it does not help

Pairs that are worse than random, all pairs of one family and {across["dpiat"]["n_pairs"]} across families
taken together, after Holm's correction for their number:

{said}

Sources that know other labels, and real weights (below), help less. There `dpiat` is ahead of iatransfer in the
first steps, level with it later, and behind for single targets.

The pairs of one family with least to gain, after 20 steps:

{table(["pair", *heads], shown)}

Across families:

{curves(across)}
"""


def labels(found: dict[str, Any]) -> str:
    return f"""## Other labels

Sources learn six of the ten classes, targets the other four, so the classifier starts fresh. Sources are the
first of each family, targets two others of it. `quiet_head=False` leaves the random weights of the classifier
as large as they were drawn; by default they are scaled down to the size of the source's.

{curves(found["other labels"])}
"""


def real_weights(found: dict[str, Any]) -> str:
    lines = []
    for name, own in found["real weights"]["targets"].items():
        for method in ("random", "paper", "dpiat"):
            values = own[method]["accuracy"]
            shown = [f"{each['mean']:.3f}" for each in values.values()]
            probed = f"{own[method]['probe']['mean']:.3f}"
            first = method == "random"
            similar = f"{own['similarity']:.2f}" if first else ""
            lines.append([name if first else "", own["source"] if first else "", similar, method, *shown, probed])
    steps = list(next(iter(found["real weights"]["targets"].values()))["dpiat"]["accuracy"])
    compared = [
        [other, step if step != "probe" else "probe", f"{each['difference']:+.3f}", interval(each)]
        for other, both in found["real weights"]["against"].items()
        for step, each in both.items()
    ]
    return f"""## Real weights

ImageNet weights of EfficientNet-Lite, from the source of the three that `recommend` names first, into networks
of timm; Fashion-MNIST at {real.SIDE} pixels in three equal colours, {real.N_TRAIN} images to learn from and
{real.N_TEST} to test on, {len(real.SEEDS)} seeds.

{table(["target", "source", "similarity", "start", *steps, "probe"], lines)}

`dpiat` less the others, over all targets:

{table(["than", "at", "difference", "interval"], compared)}
"""


def interval(each: dict[str, Any]) -> str:
    low, high = each["difference_interval"]
    return f"{low:+.3f} to {high:+.3f}"


def ablations(found: dict[str, Any]) -> str:
    lines = []
    for name, own in found["ablations"].items():
        values = [f"{own[step]['difference']:+.3f}" if step in own else "" for step in ("0", "20", "50", "probe")]
        between = interval(own["20"]) if "20" in own else ""
        record = f"{own['20']['wins']}/{own['20']['losses']}" if "20" in own else ""
        lines.append([f"`{name}`", str(own["n_pairs"]), *values, between, record])
    return f"""## Ablations

One choice of `dpiat` is made otherwise ([What happens to each tensor](operators.md) explains the choices). The
table shows its accuracy less that of the default, on those pairs of one family where it makes a difference at
all. A minus says that the default is right.

{table(["choice", "pairs", "0", "20", "50", "probe", "interval at 20", "better/worse pairs at 20"], lines)}
"""


def recommending(found: dict[str, Any]) -> str:
    lines = []
    for name, own in sorted(found["recommender"].items(), key=lambda each: -each[1]["held out"]["pick_over_best"]):
        shown = [f"{own[group]['pick_over_best']:.3f}" for group in ("all", "tuned", "held out")]
        related = [
            "" if own[group]["correlation"] is None else f"{own[group]['correlation']:.2f}"
            for group in ("all", "held out")
        ]
        lines.append([name, *shown, f"{own['all']['worst_pick']:.2f}", *related])
    columns = ["pick/best, all", "tuned on", "held out", "worst target", "rank correlation, all", "held out"]
    return f"""## Recommending

Which source should one take? Every network is a target, all others are sources; one seed, three within a family.

- The **gain** is the accuracy in the first hundred steps relative to that from random initialisation.
- **pick/best** is the gain of the source that a measure puts first, over the largest gain there is. 1 is a
  perfect pick.
- "Tuned on" are the targets of the families residual and inverted, which measures were designed by. The others are
  held out.
- "price 0.5" compares networks at a common scale of their widths, times the ratio of the widths to the power 0.5.

{table(["measure", *columns], lines)}

`dpiat` is `price 0.5`. To see whether that choice was luck, the power was chosen on four families and judged on the
fifth, each in turn. Transfers take a ratio by the same rule, so only powers that suit them were allowed
({", ".join(SUITED)}: at 0 ratios are taken that crop what fits exactly, above 0.56 stages of one family no
longer meet):

{left_out(found["left out"])}

Among all powers, and no common scale:

{left_out(found["left out, any price"])}

![Gain against similarity](img/quality-gain.svg)

{judged(found)}"""


def left_out(families: dict[str, Any]) -> str:
    """Show what was chosen without a family, and how it does on it; on average over targets."""
    others = ("pick_over_best", "dpiat at true widths", "same family, nearest size")
    rows = [[name, each["chosen"], *(f"{each[key]:.3f}" for key in others)] for name, each in families.items()]
    n = sum(each["n_targets"] for each in families.values())
    means = [sum(e[key] * e["n_targets"] for e in families.values()) / n for key in others]
    head = ["family left out", "chosen on the others", "pick/best", "at true widths", "same family, nearest size"]
    return table(head, [*rows, ["all targets", "", *(f"{value:.3f}" for value in means)]])


def judged(found: dict[str, Any]) -> str:
    lines = [
        [
            each["benefit"],
            f"{each['least_similarity']:g} and more",
            str(each["n_pairs"]),
            f"{each['gain_lowest_tenth']:.2f}",
            f"{each['gain_median']:.2f}",
            f"{each['n_worse']} ({each['n_worse'] / each['n_pairs']:.0%})",
        ]
        for each in found["verdicts"]
    ]
    worse = f"worse than random by {found['verdicts'][0]['margin']:.0%}"
    return f"""### Verdicts

This is what `recommend` says of the benefit to be expected. It comes from the gains that were measured at like
similarity:

{table(["benefit", "similarity", "pairs measured", "gain, lowest tenth", "median", worse], lines)}
"""
