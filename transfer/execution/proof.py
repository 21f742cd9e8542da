"""Does the target compute what the source does? Both are run on the same inputs, and their outputs compared.

Outputs alone mislead: whatever the input, much of them is the same, and two classifiers of one data set agree in
that however little their layers do alike (EfficientNet-Lite, one shrunk into another: outputs correlate by .5
to .8, what inputs change in them by .2 to .4). What inputs change misleads, too: in untrained networks it is hardly
more than one factor. So the correlation is the lesser of the two, and the sizes must agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from transfer.execution.trials import RefusalError, Trial, attempt, n_words, trials
from transfer.tracing.given import Example, given_example
from transfer.tracing.outputs import main_output, named_outputs
from transfer.tracing.running import CostError, Ran

__all__ = ["EQUAL", "NEAR", "Function", "compare", "prove"]

EQUAL = 1e-4
"""Largest difference, relative to the largest output, of outputs that are called equal: rounding is well below."""

NEAR = 0.9
"""Least correlation of outputs that are called near."""

_FAR = 0.5
"""Largest distance of near outputs, relative to their size; at one scale a correlation of `NEAR` leaves less."""

_LEAST_NUMBERS = 8
"""Fewer numbers correlate by chance."""

_MOST_OPERATIONS = {"cpu": 5e10, "cuda": 2e12}
"""A run that takes more is given up, by where the target lives: a second or two; ViT-B takes 3.5e10."""

Verdict = Literal["equal", "near", "other", "unknown"]


@dataclass(frozen=True, slots=True)
class Function:
    """What a target computes, beside what its source does.

    Parameters
    ----------
    verdict : {'equal', 'near', 'other', 'unknown'}
        Whether outputs differ by at most `EQUAL`, or else correlate by at least `NEAR` at one scale; unknown where
        the two could not be run on one input, or their outputs not be compared.
    difference : float or None
        The largest, relative to the largest output of the source.
    correlation : float or None
        The lesser of that of outputs and that of what inputs change in them.
    reason : str
        Why nothing is known, or what was compared if not all outputs.
    """

    verdict: Verdict
    difference: float | None = None
    correlation: float | None = None
    reason: str = ""


def prove(source: nn.Module, target: nn.Module) -> Function:
    """Run two networks on the same inputs, found for both, unless that takes long; compare what they return.

    Parameters
    ----------
    source, target : nn.Module
        With values, unchanged afterwards. What was given for the target (`transfer.tracing.given`) is what both are
        run on.

    Returns
    -------
    Function
    """
    device = next((x.device.type for x in target.parameters()), "cpu")
    most = _MOST_OPERATIONS.get(device, _MOST_OPERATIONS["cuda"])
    try:
        return _tried(source, target, trials(source, target), most)
    except CostError:
        return Function("unknown", reason=f"running both networks twice takes more than {4 * most:.0e} operations")
    except RefusalError as refusal:
        return Function("unknown", reason=str(refusal))


def compare(source: nn.Module, target: nn.Module, example: Example) -> Function:
    """Run two networks on one input and on a variation of it, however long that takes.

    Parameters
    ----------
    source, target : nn.Module
        With values, unchanged afterwards.
    example : Example
        What both take. Tensors without values get random ones.

    Returns
    -------
    Function
    """
    try:
        return _tried(source, target, [Trial(example, example)], math.inf)
    except RefusalError as refusal:
        return Function("unknown", reason=str(refusal))


def _tried(source: nn.Module, target: nn.Module, tries: Iterable[Trial], most: float) -> Function:
    """Compare two networks on the first input that both take."""
    words = n_words(source, target)
    refusal = ""
    for trial in tries:
        try:
            theirs = [attempt(target, trial.target, words, 0, most)]
        except RefusalError as error:
            refusal = refusal or f"the target cannot be run on {trial.target.described()}: {error}"
            continue
        try:
            ours = [attempt(source, trial.source, words, 0, most)]
        except RefusalError as error:
            refusal = refusal or f"the source cannot be run on {trial.source.described()}: {error}"
            continue
        with suppress(RefusalError):  # an input that cannot be varied
            more = attempt(source, trial.source, words, 1, most), attempt(target, trial.target, words, 1, most)
            ours.append(more[0])
            theirs.append(more[1])
        return _judged(list(zip(ours, theirs, strict=True)))
    hint = "" if given_example(target) is not None else "; give what it takes: example=, or --input"
    raise RefusalError(f"{refusal or 'no input was found that the target takes'}{hint}")


class _Pair(NamedTuple):
    """Tensors of both networks, one for each input."""

    source: list[torch.Tensor]
    target: list[torch.Tensor]


class _Outputs(NamedTuple):
    """Outputs that can be compared; which they are if not all, or why there are none."""

    pairs: list[_Pair]
    what: str = ""
    are_of_other_sizes: bool = False


def _judged(ran: Sequence[tuple[Ran, Ran]]) -> Function:
    outputs, what, are_of_other_sizes = _outputs(ran)
    if outputs:
        found = _worst([_compared(pair) for pair in outputs], what)
        if found.verdict in ("equal", "near") and not _is_void(outputs):
            return found
    else:
        found = Function("unknown", reason=what)
    read = _read(ran)
    if read is None and are_of_other_sizes:
        return Function("unknown", reason=f"{what}; {_NOT_READ}")
    if read is None or (found.verdict == "unknown" and outputs):
        return found
    inner = _compared(read)
    if not outputs or _is_void(outputs):
        return Function(inner.verdict, inner.difference, inner.correlation, f"{what or _VOID}; {_READ}")
    if inner.verdict in ("equal", "near"):
        what = f"what the last layer reads is {inner.verdict}"
        return Function("other", found.difference, found.correlation, what)
    return found


_READ = "compared is what the last layers read"
_NOT_READ = "what the last layers read cannot be compared either"
_VOID = "the source's outputs are all zero"


def _is_void(outputs: Sequence[_Pair]) -> bool:
    """Whether outputs tell nothing of what is computed."""
    return not any(bool(tensor.any()) for pair in outputs for tensor in pair.source)


def _outputs(ran: Sequence[tuple[Ran, Ran]]) -> _Outputs:
    ours, theirs = ([named_outputs(both[side].result) for both in ran] for side in (0, 1))
    for who, found in (("source", ours), ("target", theirs)):
        if not found[0]:
            return _Outputs([], f"the {who} returns no tensor of numbers")
    shapes = [{name: _shape(x) for name, x in found[0].items()} for found in (ours, theirs)]
    if shapes[0] == shapes[1]:
        return _Outputs([_pair([x[name] for x in ours], [x[name] for x in theirs]) for name in shapes[0]])
    mains = [_main(ran[0][side].result, shapes[side]) for side in (0, 1)]
    if shapes[0][mains[0]] != shapes[1][mains[1]]:
        names = ((a, b) for b in shapes[1] for a in shapes[0] if shapes[0][a] == shapes[1][b])
        chosen = next(names, None)
        if chosen is None:
            sizes = " and ".join("x".join(map(str, shapes[side][mains[side]])) for side in (0, 1))
            return _Outputs([], f"outputs are of other sizes: {sizes}", are_of_other_sizes=True)
        mains = list(chosen)
    what = f"compared is {mains[0] or 'the output'} with {mains[1] or 'the output'}"
    return _Outputs([_pair([x[mains[0]] for x in ours], [x[mains[1]] for x in theirs])], what)


def _main(result: object, names: dict[str, tuple[int, ...]]) -> str:
    main = main_output(result)
    return next(name for name in names if named_outputs(result)[name] is main)


def _shape(x: torch.Tensor) -> tuple[int, ...]:
    """Shape of an output, without what pooling leaves."""
    return (*x.shape[:1], *(n for n in x.shape[1:] if n > 1))


def _read(ran: Sequence[tuple[Ran, Ran]]) -> _Pair | None:
    ours, theirs = ([both[side].read for both in ran] for side in (0, 1))
    a, b = ([x for x in side if x is not None] for side in (ours, theirs))
    if len(a) < len(ran) or len(b) < len(ran) or _shape(a[0]) != _shape(b[0]):
        return None
    return _pair(a, b)


def _pair(a: list[torch.Tensor], b: list[torch.Tensor]) -> _Pair:
    return _Pair(list(map(_plain, a)), list(map(_plain, b)))


def _plain(x: torch.Tensor) -> torch.Tensor:
    x = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    return x.detach().to("cpu", torch.float64).reshape(len(x) if x.dim() > 1 else 1, -1)


def _worst(found: Sequence[Function], what: str) -> Function:
    """Sum up the outputs of a network."""
    order = ("unknown", "other", "near", "equal")
    worst = min(found, key=lambda one: order.index(one.verdict))
    differences = [one.difference for one in found if one.difference is not None]
    difference = max(differences) if worst.verdict != "unknown" and differences else None
    correlations = [one.correlation for one in found if one.correlation is not None]
    reason = "; ".join(filter(None, (worst.reason, what)))
    return Function(worst.verdict, difference, min(correlations, default=None), reason)


def _compared(pair: _Pair) -> Function:
    a, b = (torch.cat(tensors) for tensors in pair)
    if not bool(a.isfinite().all()):
        return Function("unknown", reason="the source returns NaN or infinity")
    if not bool(b.isfinite().all()):
        return Function("other", reason="the target returns NaN or infinity")
    size, largest = float(a.abs().max()), float((a - b).abs().max())
    difference = largest / size if size else float(largest > 0)
    correlation = _correlation(a, b)
    if difference <= EQUAL:
        return Function("equal", difference, correlation)
    is_near = correlation is not None and correlation >= NEAR and float((a - b).norm()) <= _FAR * float(a.norm())
    return Function("near" if is_near else "other", difference, correlation)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float | None:
    """Correlate outputs within a row, and what differs between rows: inputs; return the lesser."""
    if len(a) < 2 or a[0].numel() < _LEAST_NUMBERS:
        return None
    found = [_cosine(a - a.mean(axis, keepdim=True), b - b.mean(axis, keepdim=True)) for axis in (0, 1)]
    return min((x for x in found if x is not None), default=None)


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float | None:
    norm = float(a.norm() * b.norm())
    return float((a * b).sum()) / norm if norm > 0 else None
