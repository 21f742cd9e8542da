"""Which of the state dicts in a file is meant: training scripts wrap them, and keep averaged weights beside them.

Averaged weights (EMA, an exponential moving average over the training) lie under a key of their own or under a
prefix of the names. Where both kinds exist the plain ones are meant, unless the averaged ones are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transfer.errors import CheckpointError

__all__ = ["EMA_KEYS", "PLAIN_KEYS", "averaged", "choose_names", "unwrap"]

PLAIN_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "params")
"""Keys under which training scripts nest the state dict."""

EMA_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema")
"""Keys under which they nest the averaged one."""

_PLAIN_PREFIXES = ("model.", "module.", "net.")
_EMA_PREFIXES = ("model_ema.", "ema_model.", "ema.")

_MAX_NESTING = 4


def unwrap(content: object, kind: type) -> dict[str, Any] | None:
    """Find the state dict in what a file holds; the averaged one where there is no other.

    Parameters
    ----------
    content : object
    kind : type
        Of the values that make a mapping a state dict.

    Returns
    -------
    dict, or None if there is none
    """
    for _ in range(_MAX_NESTING):
        if not isinstance(content, Mapping):
            return None
        state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, kind)}
        nested = _nested(content, (*PLAIN_KEYS, *EMA_KEYS))
        if nested is None or len(state) > 1:
            return state or None
        content = nested
    return None


def averaged(content: object) -> Mapping[str, Any] | None:
    """Find the mapping that holds averaged weights in what a file holds, None if there is none."""
    for _ in range(_MAX_NESTING):
        if not isinstance(content, Mapping):
            return None
        found = _nested(content, EMA_KEYS)
        if found is not None:
            return found
        content = _nested(content, PLAIN_KEYS)
    return None


def _nested(content: Mapping[str, Any], keys: Iterable[str]) -> Mapping[str, Any] | None:
    return next((content[key] for key in keys if isinstance(content.get(key), Mapping)), None)


def choose_names(names: Iterable[str], path: object, *, ema: bool | None) -> dict[str, str]:
    """Keep the plain names, or the averaged ones without their prefix.

    Names count as averaged if all of them, without their prefix, are those of plain tensors too: a layer of the
    network that merely is called ``ema`` has no such twin.

    Parameters
    ----------
    names : iterable of str
    path : path
        For the message.
    ema : bool or None
        None keeps both.

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
    for prefix in _EMA_PREFIXES if ema is not None else ():
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
