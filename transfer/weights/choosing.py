"""Which of the state dicts in a file is meant.

The one with the most values is. Averaged weights (EMA, an exponential moving average over the training) are meant
where they are asked for, or where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from transfer.errors import CheckpointError
from transfer.weights.inert.values import StandIn
from transfer.weights.states import State, tensor_of

__all__ = ["choose", "choose_names"]

_PLAIN_PREFIXES = ("model.", "module.", "net.")
_EMA_PREFIXES = ("model_ema.", "ema_model.", "ema.")

_MOST_NAMED = 8
"""States that a message names."""


def choose(
    states: Sequence[State], tree: object, path: object, *, ema: bool = False, key: str | None = None
) -> tuple[State, str]:
    """Choose the state that is meant.

    Parameters
    ----------
    states : sequence of State
        All of the file (`find_states`).
    tree : object
        What the file holds, for the message.
    path : path
        For the message.
    ema : bool
        Prefer averaged weights.
    key : str, optional
        Of the state that the user names.

    Returns
    -------
    State
    str
        What to say of the choice; empty if there was none.

    Raises
    ------
    CheckpointError
        If there is no state, or none of that key.
    """
    if ema and key is not None:
        raise CheckpointError(
            f"expected a state dict by its key or averaged weights (EMA) of '{path}', both were asked for; name "
            "the state dict that holds the averaged ones, see: zoo inspect"
        )
    usable = [state for state in states if not state.is_optimizer]
    if not usable:
        raise CheckpointError(
            f"expected a state dict (names and tensors) in '{path}', found {_described(tree)}; save one with "
            "torch.save(model.state_dict(), file)"
        )
    if key is not None:
        found = [state for state in usable if state.key == key]
        if not found:
            raise CheckpointError(
                f"expected a state dict {key!r} in '{path}', found {_named(usable)}; see: zoo inspect {path}"
            )
        return found[0], ""
    plain = [state for state in usable if not state.is_averaged]
    averaged = [state for state in usable if state.is_averaged]
    chosen = max((averaged if averaged and (ema or not plain) else plain), key=lambda state: state.n_values)
    if not chosen.key:
        return chosen, ""
    others = [state for state in usable if state is not chosen]
    also = f"; it also holds {_named(others)}" if others else ""
    return chosen, f"takes {chosen.key!r} of the file, {len(chosen.tensors)} tensors{also}"


def _described(value: object) -> str:
    """Say what a file holds that holds no state dict."""
    if isinstance(value, StandIn):
        return f"an object of {value.name[:100] or 'a class'} and no tensors in it"
    if not isinstance(value, Mapping):
        return "a tensor without a name" if tensor_of(value) is not None else f"a {type(value).__name__}"
    keys = ", ".join([repr(key)[:50] for key in value if isinstance(key, str)][:5])
    if value and not keys:
        return "a dict whose keys are no names"
    return f"a dict with {keys or 'no entries'} and no tensors"


def _named(states: list[State]) -> str:
    names = [repr(state.key) if state.key else "loose tensors" for state in states]
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")


def choose_names(names: Iterable[str], path: object, *, ema: bool) -> dict[str, str]:
    """Keep the plain names, or the averaged ones without their prefix.

    Names count as averaged if all of them, without their prefix, are those of plain tensors too: a layer of the
    network that merely is called ``ema`` has no such twin.

    Parameters
    ----------
    names : iterable of str
    path : path
        For the message.
    ema : bool
        Keep the averaged ones.

    Returns
    -------
    dict of str to str
        From the name to use to the name in the file.

    Raises
    ------
    CheckpointError
        If the averaged ones are asked for and there are none.
    """
    names = list(names)
    for prefix in _EMA_PREFIXES:
        twins = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        plain = [name for name in names if name not in twins]
        if twins and {_bare(name) for name in twins.values()} <= {_bare(name) for name in plain}:
            return {short: name for name, short in twins.items()} if ema else {name: name for name in plain}
    if ema:
        raise CheckpointError(
            f"expected averaged (EMA) weights in '{path}', found plain ones only; leave ema=True (--ema) out"
        )
    return {name: name for name in names}


def _bare(name: str) -> str:
    """Name without what only says who wrapped the network."""
    for _ in range(2):
        for prefix in _PLAIN_PREFIXES:
            name = name.removeprefix(prefix)
    return name
