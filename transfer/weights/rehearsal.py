"""A look at the instructions of a pickle before torch follows them: what they would make, and how large it gets.

torch calls only what it knows to be harmless. Yet a few bytes can ask it for gigabytes of zeros, or for a tuple of
tuples that are one another's parts, whose hash or text takes for ever. Only what `torch.save` writes of networks is
let through: state dicts, what training keeps beside them, tensors. Nothing is made here.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

__all__ = ["rehearse"]

_MOST_PARTS = 50_000_000
_MOST_IN_A_TUPLE = 1_000_000
"""Parts of a value, counted as often as they occur in it."""

_MOST_KEY = 2**60
"""Integers below have different hashes; old files have addresses as keys."""

_REBUILD = "torch._utils._rebuild_"
_CALLS = {
    "collections.OrderedDict", "collections.Counter", "torch._tensor._rebuild_from_type_v2", "torch.Size",
    "torch.device", "torch.serialization._get_layout", "torch.nn.parameter.Parameter", "_codecs.encode",
    "builtins.bytearray", "__builtin__.bytearray", "builtins.set", "__builtin__.set", "builtins.complex",
    "__builtin__.complex",
}  # fmt: skip
_ENCODINGS = ("latin1", "latin-1", "ascii", "utf-8")

_PLAIN = ("NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "SHORT_BINSTRING")
_INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1")


@dataclass(slots=True)
class _Value:
    """What an instruction would make: of which kind, of how many parts, and what is told by it."""

    kind: str
    size: int = 1
    told: Any = None
    keys: set[str] | None = None
    is_shared: bool = False


def rehearse(file: BinaryIO) -> None:
    """Go through the instructions of the pickle that begins here, up to its end.

    Parameters
    ----------
    file : binary file

    Raises
    ------
    pickle.UnpicklingError
        If it makes anything but tensors and plain values, or more of them than a file can hold.
    ValueError, LookupError
        If it is damaged.
    """
    machine = _Machine()
    argument: Any
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name in _PLAIN:
            machine.stack.append(_Value("plain"))
        elif instruction.name in _INTEGERS:
            machine.stack.append(_Value("integer", told=argument))
        elif instruction.name in ("BINPUT", "LONG_BINPUT"):
            machine.memo[argument] = machine.stack[-1]
        elif instruction.name in ("BINGET", "LONG_BINGET"):
            machine.again(argument)
        elif instruction.name in ("BINUNICODE", "GLOBAL"):
            kind = "text" if instruction.name == "BINUNICODE" else "global"
            machine.stack.append(_Value(kind, told=argument))
        elif instruction.name not in ("PROTO", "STOP"):
            follow = _FOLLOW.get(instruction.name)
            if follow is None:
                raise pickle.UnpicklingError(f"an instruction {instruction.name}")
            follow(machine)


class _Machine:
    """Stack and memory of a pickle, of values that are not made."""

    def __init__(self) -> None:
        self.stack: list[_Value] = []
        self.below: list[list[_Value]] = []
        self.memo: dict[int, _Value] = {}

    def again(self, place: int) -> None:
        """Put a value on the stack that was made before; a container must not grow any more then."""
        value = self.memo[place]
        value.is_shared = value.kind in ("list", "dict")
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[_Value]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def tuple_of(self, items: list[_Value]) -> None:
        made = _Value("tuple", told=items)
        _grow(made, items, _MOST_IN_A_TUPLE)
        self.stack.append(made)

    def last(self, n: int) -> list[_Value]:
        if len(self.stack) < n:
            raise LookupError("a pickle takes more than there is")
        items = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return items

    def call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        name = str(called.told).replace(" ", ".") if called.kind == "global" else ""
        if not (name in _CALLS or name.startswith(_REBUILD)) or arguments.kind != "tuple":
            raise pickle.UnpicklingError(f"GLOBAL {name}" if name else "a call of something else")
        items: list[_Value] = arguments.told
        if name.endswith(".bytearray") and any(item.kind == "integer" for item in items):
            raise pickle.UnpicklingError("bytes that are not in the file")
        if name == "_codecs.encode" and not all(item.told in _ENCODINGS for item in items[1:]):
            raise pickle.UnpicklingError("GLOBAL _codecs.encode")
        if name in ("torch.serialization._get_layout", "torch.device") and any(
            item.kind == "tuple" for item in items
        ):
            raise pickle.UnpicklingError(f"GLOBAL {name}")
        made = _Value("dict" if name.startswith("collections.") else "made")
        made.told = "ordered" if made.kind == "dict" else None
        _grow(made, items)
        self.stack.append(made)

    def build(self) -> None:
        """Give the last value a state; an ordered dict takes it as attributes, which could hide its methods."""
        state, value = self.stack.pop(), self.stack[-1]
        if value.kind == "dict":
            if value.told != "ordered" or state.kind != "dict" or (state.keys or set()) - {"_metadata"}:
                raise pickle.UnpicklingError("attributes of a dict")
        elif value.kind != "made":
            raise pickle.UnpicklingError("a state of something else")
        _grow(value, [state])

    def append(self, items: list[_Value]) -> None:
        value = self.stack[-1]
        if value.kind != "list" or value.is_shared:
            raise pickle.UnpicklingError("a list within itself")
        _grow(value, items)

    def set(self, items: list[_Value]) -> None:
        value = self.stack[-1]
        if value.kind != "dict" or value.is_shared or len(items) % 2:
            raise pickle.UnpicklingError("a dict within itself")
        for key in items[::2]:
            if key.kind not in ("text", "integer", "plain") or (
                key.kind == "integer" and abs(key.told) >= _MOST_KEY
            ):
                raise pickle.UnpicklingError("keys that are no names")
            value.keys = value.keys or set()
            value.keys.add(key.told if key.kind == "text" else "")
        _grow(value, items)

    def stored(self) -> None:
        """Give out a storage, which its kind, its name, a device and its size tell."""
        told = self.stack.pop()
        kinds = [item.kind for item in told.told] if told.kind == "tuple" else []
        names = ("text", "plain")  # bytes in files of Python 2
        if len(kinds) not in (5, 6) or kinds[1] != "global" or kinds[4] != "integer":
            raise pickle.UnpicklingError("something else than a storage")
        if not all(kinds[i] in names for i in (0, 2, 3)):
            raise pickle.UnpicklingError("something else than a storage")
        self.stack.append(_Value("made"))


def _grow(value: _Value, items: list[_Value], most: int = _MOST_PARTS) -> None:
    value.size += sum(item.size for item in items)
    if value.size > most:
        raise pickle.UnpicklingError("values that unfold to more than the file")


_FOLLOW: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine: machine.tuple_of([]),
    "TUPLE": lambda machine: machine.tuple_of(machine.since_mark()),
    "TUPLE1": lambda machine: machine.tuple_of(machine.last(1)),
    "TUPLE2": lambda machine: machine.tuple_of(machine.last(2)),
    "TUPLE3": lambda machine: machine.tuple_of(machine.last(3)),
    "EMPTY_LIST": lambda machine: machine.stack.append(_Value("list")),
    "EMPTY_DICT": lambda machine: machine.stack.append(_Value("dict")),
    "EMPTY_SET": lambda machine: machine.stack.append(_Value("made")),
    "APPEND": lambda machine: machine.append(machine.last(1)),
    "APPENDS": lambda machine: machine.append(machine.since_mark()),
    "SETITEM": lambda machine: machine.set(machine.last(2)),
    "SETITEMS": lambda machine: machine.set(machine.since_mark()),
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.stored,
}
"""What the other instructions do that torch follows."""
