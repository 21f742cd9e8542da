"""Transfers into a target on a device, beside the copies that the device itself can make.

Timed, round by round and interleaved: transfers from a safetensors file, from a module on the CPU and from a module
on the device; loading the same, where source and target are equal (`load_file` onto the device and
`load_state_dict`); and bare copies of as many bytes. Before every run the target gets its own values back, after it
every bit is compared with what the same transfer gives on the CPU.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import safetensors.torch
import torch
from torch import nn

import transfer
from gpu.checks import differences
from gpu.networks import randomise, resnet50, vit_large
from transfer.options import Options
from transfer.weights.checkpoint import save_module

__all__ = ["NETWORKS", "Network", "Target", "measure"]

MOST_ROUNDS = 9
SOURCES = ("file", "CPU module", "device module")
BOXES = Options(channels="leading", compensate=False)
"""Cropping alone: what is read and sent is a box of each tensor."""


@dataclass(frozen=True)
class Target:
    """What a network is transferred into.

    Parameters
    ----------
    kind : str
        ``full``: an equal network; ``cropped``: a smaller one, which gets the leading channels; ``narrowed``: the
        same, which gets the most important ones.
    build : callable
    options : Options
    sources : sequence of str
        What is read, of `SOURCES`.
    """

    kind: str
    build: Callable[[], nn.Module]
    options: Options = field(default_factory=Options)
    sources: Sequence[str] = SOURCES


@dataclass(frozen=True)
class Network:
    """A source network and its targets."""

    name: str
    build: Callable[[], nn.Module]
    targets: Sequence[Target]


NETWORKS = (
    Network(
        "ResNet-50",
        resnet50,
        (
            Target("full", resnet50),
            Target("cropped", lambda: resnet50(48), BOXES),
            Target("narrowed", lambda: resnet50(48), sources=("file",)),
        ),
    ),
    Network(
        "ViT-L/16",
        vit_large,
        (
            Target("full", vit_large),
            Target("cropped", lambda: vit_large(768, 12), BOXES),
            Target("narrowed", lambda: vit_large(768, 12), sources=("file",)),
        ),
    ),
)
"""Into three quarters of the width, and the transformer into half the depth as well (ViT-B)."""


def measure(networks: Sequence[Network], device: torch.device, seconds: float) -> Iterator[dict[str, Any]]:
    """Time the transfers of networks.

    Parameters
    ----------
    networks : sequence of Network
    device : torch.device
    seconds : float
        Time for all: shared out evenly, as far as it goes, but each target gets two rounds, the first of which does
        not count; once it is over, the rest is left out.

    Yields
    ------
    dict
        For one target: ``rows``, one for each kind of source; ``copies_gb_per_s``, bare copies of as many bytes.
        With ``left_out`` alone if there was no time for it.

    Raises
    ------
    AssertionError
        If a transfer gives anything but what it gives on the CPU.
    """
    deadline = time.perf_counter() + seconds
    n_left = sum(len(network.targets) for network in networks)
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            given: dict[str, Path | nn.Module] = {}
            for target in network.targets:
                about = {"network": network.name, "kind": target.kind}
                now = time.perf_counter()
                if now >= deadline:
                    yield {**about, "left_out": "no time was left"}
                    continue
                until = now + (deadline - now) / n_left
                n_left -= 1
                given = given or _sources(network, device, Path(folder))
                yield {**about, **_measured(given, target, device, until)}


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a network with random values of the same range everywhere; its own initialisation would take longer."""
    with torch.device("meta"):
        network = build()
    return randomise(network.to_empty(device="cpu"), seed)


def _sources(network: Network, device: torch.device, folder: Path) -> dict[str, Path | nn.Module]:
    module = _built(network.build, 1)
    path = folder / "weights.safetensors"
    save_module(module, path, {})
    return dict(zip(SOURCES, (path, module, copy.deepcopy(module).to(device)), strict=True))


def _measured(
    given: Mapping[str, Path | nn.Module], case: Target, device: torch.device, until: float
) -> dict[str, Any]:
    target = _built(case.build, 2)
    n_bytes = sum(tensor.nbytes for tensor in target.state_dict().values())
    start = _copied(target.state_dict(), device)
    expected = {kind: _on_cpu(case, given[kind], target, device) for kind in case.sources if "device" not in kind}
    target.to(device)

    def transferred(kind: str) -> Callable[[], object]:
        return lambda: transfer.transfer(given[kind], target, options=case.options)

    actions = {f"transfer {kind}": transferred(kind) for kind in case.sources}
    # on the device a module is what it is on the CPU
    checks = {f"transfer {kind}": expected[kind.replace("device", "CPU")] for kind in case.sources}
    if case.kind == "full":
        module = given["CPU module"]
        assert isinstance(module, nn.Module)
        assert not (wrong := differences(expected["file"], module.state_dict())), wrong
        loads = _loads(given, target, device)
        actions |= loads
        checks |= dict.fromkeys(loads, expected["file"])
    header = transfer.open_checkpoint(given["file"])
    actions["plan"] = lambda: transfer.plan(header, target, options=case.options)
    actions |= _copies(n_bytes, device)
    taken = _timed(actions, checks, target, start, device, until)
    speeds = {name: n_bytes / value / 1e9 for name, value in taken.medians.items()}
    copies = {name.removeprefix("copy "): value for name, value in speeds.items() if name.startswith("copy ")}
    rows = []
    for kind in case.sources:
        speed = speeds[f"transfer {kind}"]
        row = {
            "source": kind,
            "seconds": taken.medians[f"transfer {kind}"],
            "gb_per_s": speed,
            "of_copies": {name: speed / value for name, value in copies.items()},
        }
        if f"load {kind}" in speeds:
            row["load_seconds"] = taken.medians[f"load {kind}"]
            row["of_load"] = speed / speeds[f"load {kind}"]
        rows.append(row)
    return {
        "bytes": n_bytes,
        "rounds": taken.n_rounds,
        "compared": taken.n_compared,
        "plan_seconds": taken.medians["plan"],
        "copies_gb_per_s": copies,
        "rows": rows,
    }


def _on_cpu(
    case: Target, source: Path | nn.Module, target: nn.Module, device: torch.device
) -> dict[str, torch.Tensor]:
    """Transfer on the CPU, and bring the result to the device."""
    network = copy.deepcopy(target)
    transfer.transfer(source, network, options=case.options)
    return _copied(network.state_dict(), device)


def _copied(state: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to(device, copy=True) for name, tensor in state.items()}


def _loads(
    given: Mapping[str, Path | nn.Module], target: nn.Module, device: torch.device
) -> dict[str, Callable[[], object]]:
    """Do what everybody does where source and target are equal."""

    def load(source: Path | nn.Module) -> Callable[[], object]:
        if isinstance(source, nn.Module):
            return lambda: target.load_state_dict(source.state_dict())
        return lambda: target.load_state_dict(safetensors.torch.load_file(source, device=str(device)))

    return {f"load {kind}": load(source) for kind, source in given.items()}


def _copies(n_bytes: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Copy as many bytes: what the bus and the memory of the device can do."""
    here = torch.ones(n_bytes, dtype=torch.uint8)
    pinned = here.pin_memory() if device.type == "cuda" else here.clone()
    there, beside = here.to(device, copy=True), here.to(device, copy=True)
    return {
        "copy pinned": lambda: there.copy_(pinned, non_blocking=True),
        "copy pageable": lambda: there.copy_(here),
        "copy device": lambda: beside.copy_(there),
    }


@dataclass(frozen=True)
class _Taken:
    """Median seconds of each action, how many rounds they are of, and how many results were compared."""

    medians: dict[str, float]
    n_rounds: int
    n_compared: int


def _timed(
    actions: Mapping[str, Callable[[], object]],
    checks: Mapping[str, Mapping[str, torch.Tensor]],
    target: nn.Module,
    start: Mapping[str, torch.Tensor],
    device: torch.device,
    until: float,
) -> _Taken:
    """Run all actions in every round, the first of which does not count."""
    backend = torch.get_device_module(device)
    times: dict[str, list[float]] = defaultdict(list)
    n_rounds = n_compared = 0
    round_seconds = 0.0
    while n_rounds < 2 or (n_rounds <= MOST_ROUNDS and time.perf_counter() + round_seconds < until):
        begun = time.perf_counter()
        for name, action in actions.items():
            if name in checks:
                target.load_state_dict(start)
            backend.synchronize()
            clock = time.perf_counter()
            action()
            backend.synchronize()
            times[name].append(time.perf_counter() - clock)
            if name in checks:
                wrong = differences(target.state_dict(), checks[name])
                assert not wrong, f"{name}: {wrong}"
                n_compared += 1
        round_seconds = time.perf_counter() - begun
        n_rounds += 1
    return _Taken({name: median(values[1:]) for name, values in times.items()}, n_rounds - 1, n_compared)
