"""The growth law over all families of timm: a target that contains its source computes what the source computes.

For every family up to six pairs of a network and the next larger one that contains it, random weights and perturbed
statistics; the figure is the largest difference of the outputs, relative to the largest output. Pairs that are not
exact come with what sets the two networks apart and with the first matched layer whose outputs differ.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import timm
import torch
from _common import save
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import transfer
from transfer.growth.containment import contained
from transfer.structure.records import Architecture
from zoo_index.catalogues.timm_catalogue import build

MAX_PARAMETERS = 60e6
MAX_SIDE = 320
MAX_PAIRS = 6
EXACT = 1e-4
LAYER_SCALE = re.compile(r"(^|\.)(gamma|ls\d?|layer_scale\w*|res_scale\w*)(\.|$)")
TRIVIAL = {"Identity", "Dropout", "DropPath", "Sequential", "ModuleList", "ModuleDict", "Flatten"}


def families() -> dict[str, list[str]]:
    found = defaultdict(list)
    for name in timm.list_models(exclude_filters="test_*"):
        found[timm.models.model_entrypoint(name).__module__.rpartition(".")[2]].append(name)
    return dict(sorted(found.items()))


def candidates(names: list[str]) -> list[tuple[str, nn.Module, Architecture]]:
    """Those that are small enough and classify images, each structure once, by size."""
    found: dict[str, tuple[int, str, nn.Module, Architecture]] = {}
    for name in names:
        model = build(name)
        size = sum(p.numel() for p in model.parameters())
        is_small = size <= MAX_PARAMETERS and max(model.default_cfg["input_size"]) <= MAX_SIDE
        if is_small and model.num_classes > 0:
            architecture = transfer.standardize(model)
            found.setdefault(architecture.fingerprint, (size, name, model, architecture))
    return [(name, model, architecture) for _, name, model, architecture in sorted(found.values(), key=_by_size)]


def _by_size(row: tuple[int, str, nn.Module, Architecture]) -> tuple[int, str]:
    return row[:2]


def read_alike(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks take the same images and tell the same number of classes apart."""
    sizes = a.default_cfg["input_size"], b.default_cfg["input_size"]
    is_fixed = a.default_cfg.get("fixed_input_size") or b.default_cfg.get("fixed_input_size")
    return a.num_classes == b.num_classes and (sizes[0] == sizes[1] or not is_fixed)


def growths(names: list[str]) -> list[tuple[str, str]]:
    """Return evenly spread pairs of a network and the next larger one that contains it."""
    rows = candidates(names)
    pairs = []
    for i, (source, model, architecture) in enumerate(rows):
        larger = (
            target
            for target, other, theirs in rows[i + 1 :]
            if read_alike(model, other) and contained(transfer.match(architecture, theirs)) is not None
        )
        target = next(larger, None)
        if target:
            pairs.append((source, target))
    n = min(MAX_PAIRS, len(pairs))
    return [pairs[i * len(pairs) // n] for i in range(n)]


@torch.no_grad()
def network(name: str, seed: int) -> nn.Module:
    """Build a network with random weights of ordinary size, nothing zero, and perturbed statistics."""
    torch.manual_seed(seed)
    model = build(name, device="cpu")
    for key, tensor in model.state_dict(keep_vars=True).items():
        if key.endswith("running_var"):
            tensor.add_(0.5 * torch.rand(tensor.shape))
        elif tensor.is_floating_point() and (tensor.dim() <= 1 or tensor.std() == 0):
            tensor.add_(0.1 * torch.randn(tensor.shape))
    return model.eval()


def measure(family: str, names: tuple[str, str]) -> dict[str, Any]:
    """Grow a network and compare what the two compute."""
    source, target = network(names[0], 1), network(names[1], 2)
    row: dict[str, Any] = {"family": family, "source": names[0], "target": names[1]}
    plan = transfer.plan(source, target)
    transfer.transfer(source, target, verify=False)
    image = torch.randn(1, *source.default_cfg["input_size"], generator=torch.Generator().manual_seed(3))
    with Joins() as joins:
        expected = seen(source, image)
    found = seen(target, image)
    row["error"] = difference(expected[""], found[""])
    if row["error"] < EXACT:
        return row
    pairs = {p.source.path: p.target.path for p in reversed(plan.alignment.pairs)}
    both = [(a, pairs[a]) for a in expected if pairs.get(a) in found]
    first = next((a for a, b in both if not difference(expected[a], found[b]) < EXACT), "")
    row["first"] = f"{first} -> {pairs[first]}" if first else ""
    row["traits"] = list(traits(source, target, plan, first, joins.found))
    return row


class Joins(TorchDispatchMode):
    """Notices concatenations and splits of channels while a network runs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("cat", "split", "split_with_sizes", "chunk"):
            n_dims = (args[0][0] if name == "cat" else args[0]).dim()
            dim = args[1 if name == "cat" else 2] if len(args) > (1 if name == "cat" else 2) else 0
            if dim % n_dims == (1 if n_dims == 4 else n_dims - 1):
                self.found.add("concatenates channels" if name == "cat" else "splits channels")
        return result


@torch.no_grad()
def seen(model: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Collect what every module returns, in the order in which they return; the network itself is ''."""
    found: dict[str, torch.Tensor] = {}

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                found.setdefault(path, output.clone())

        return hook

    for path, module in model.named_modules():
        module.register_forward_hook(keep(path))
    model(image)
    return found


def difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Largest relative difference in the leading part of the larger result."""
    if expected.dim() != found.dim() or any(a > b for a, b in zip(expected.shape, found.shape, strict=True)):
        return float("inf")
    part = found[tuple(slice(0, n) for n in expected.shape)]
    return float((part - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


def traits(
    source: nn.Module, target: nn.Module, plan: transfer.TransferPlan, first: str, joins: set[str]
) -> Iterator[str]:
    """Name what may keep a grown network from computing the same, the likeliest cause first."""
    classes = [
        {type(m).__name__ for m in model.modules()} - TRIVIAL - {type(model).__name__} for model in (source, target)
    ]
    if classes[0] ^ classes[1]:
        only = [" ".join(sorted(a - b)[:4]) or "-" for a, b in (classes, classes[::-1])]
        yield f"other modules: {only[0]} / {only[1]}"
    found = contained(transfer.match(source, target))
    used = {(p.source.path, p.target.path) for p in plan.alignment.pairs}
    if found is not None and not {(p.source.path, p.target.path) for p in found.pairs} <= used:
        yield "the containing placement was not used"
    grown = [p for p in plan.alignment.pairs if p.source.dims != p.target.dims]
    norms = {p.source.path for p in grown if p.target.kind == "norm"}
    name = "group norm grows" if any(isinstance(m, nn.GroupNorm) for m in source.modules()) else "layer norm grows"
    if first in norms:
        yield name
    yield from sorted(joins)
    for attribute in ("num_heads", "window_size", "eps", "stride", "dilation"):
        values = [{str(getattr(m, attribute, "")) for m in model.modules()} for model in (source, target)]
        if values[0] ^ values[1]:
            yield f"other {attribute}"
    if norms and first not in norms:
        yield name
    if any(LAYER_SCALE.search(tensor.name) for p in grown for tensor in p.target.tensors):
        yield "layer scale grows"
    if any(isinstance(m, nn.Conv2d) and 1 < m.groups < m.in_channels for m in target.modules()):
        yield "grouped convolutions"
    if len(plan.alignment.source.items) < len(plan.alignment.target.items):
        yield "deeper"


def main() -> None:
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for family, names in families().items():
        for pair in growths(names):
            rows.append(measure(family, pair))
            print(rows[-1], file=sys.stderr, flush=True)
    rest = [row for row in rows if not row["error"] < EXACT]  # NaN is not exact
    reasons = Counter(_reason(row) for row in rest)
    counts = {"pairs": len(rows), "exact": len(rows) - len(rest), "not exact": len(rest)}
    save("growth", {"counts": counts, "reasons": dict(reasons.most_common()), "pairs": rows})


def _reason(row: dict[str, Any]) -> str:
    return row["traits"][0].partition(":")[0] if row["traits"] else "unknown"


if __name__ == "__main__":
    main()
