"""Follows the instructions of a pickle. Nothing is imported and nothing foreign is called.

A class or function is its name only. A call of one of the names in `rebuilding` makes what torch or numpy would
have made of the same arguments; every other call makes a stand-in. Sets are lists here: to take the hash of any
value could take for ever.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from transfer.weights.contents import RefusedError
from transfer.weights.inert.rebuilding import REBUILDERS
from transfer.weights.inert.values import Global, StandIn, fill
from transfer.weights.mapped import Window

__all__ = ["read_pickle"]

_MOST_INSTRUCTIONS = 20_000_000
"""The largest training checkpoints have some millions."""

_MOST_COPIES = 4
"""Of each byte of a pickle: text becomes bytes, bytes an array; a pickle that repeats one call makes any number."""

_ALWAYS_COPIED = 1_000_000
"""Bytes that calls may copy however small the pickle is."""


def read_pickle(file: Window, stored: Callable[[Any], Any] | None = None, *, has_calls: bool = True) -> Any:
    """Read the pickle that begins here, up to its end.

    Parameters
    ----------
    file : Window
    stored : callable, optional
        Makes a value of what the file keeps outside of its pickle, told how the pickle names it.
    has_calls : bool
        Whether calls make anything but stand-ins.

    Returns
    -------
    object
        Plain values, lists (also for sets), tuples, dicts, stored tensors, arrays, `StandIn`, `Global`.

    Raises
    ------
    RefusedError
        If it copies the same values again and again.
    Exception
        Of nearly any class, if it is damaged.
    """
    machine = _Machine(stored, has_calls=has_calls)
    argument: Any
    for count, (instruction, argument, place) in enumerate(pickletools.genops(cast(BinaryIO, file))):
        if count > _MOST_INSTRUCTIONS:
            raise pickle.UnpicklingError(f"more than {_MOST_INSTRUCTIONS:,} instructions")
        machine.n_read = place or 0
        _FOLLOW[instruction.name](machine, argument)
    return machine.result


class _Machine:
    """Stack and memory of a pickle."""

    def __init__(self, stored: Callable[[Any], Any] | None, *, has_calls: bool) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.result: Any = None
        self.stored = stored
        self.rebuilders = REBUILDERS if has_calls else {}
        self.n_read = self.n_copied = 0

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def last(self, n: int) -> list[Any]:
        if len(self.stack) < n:
            raise LookupError("a pickle takes more than there is")
        items = self.stack[len(self.stack) - n :]
        del self.stack[len(self.stack) - n :]
        return items

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def drop(self) -> None:
        self.since_mark()

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def memoize(self) -> None:
        self.put(len(self.memo))

    def stop(self) -> None:
        self.result = self.stack.pop()

    def count(self, *values: Any) -> None:
        """Count what may be copied of some values, before it is."""
        self.n_copied += sum(map(_size, values))
        if self.n_copied > _MOST_COPIES * self.n_read + _ALWAYS_COPIED:
            raise RefusedError(
                f"a pickle whose first {self.n_read:,} bytes make {self.n_copied:,}, more than weights need"
            )

    def name(self, module: Any, name: Any) -> None:
        self.count(module, name)
        self.push(Global(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""))

    def call(self, called: Any, arguments: Any) -> None:
        name = called.name if isinstance(called, Global) else ""
        arguments = arguments if isinstance(arguments, tuple) else ()
        rebuild = self.rebuilders.get(name)
        if rebuild is None:
            self.push(StandIn(name, arguments))
        else:
            self.count(*arguments)
            self.push(rebuild(*arguments))

    def object(self) -> None:
        called, *arguments = self.since_mark()
        self.call(called, tuple(arguments))

    def build(self) -> None:
        """Give the last value a state; what is no object has none here."""
        value, state = self.last(2)
        if hasattr(type(value), "build"):
            self.count(state)
            value.build(state)
        self.push(value)

    def append(self, items: list[Any]) -> None:
        value = self.stack[-1]
        if isinstance(value, list | StandIn):
            (value.members if isinstance(value, StandIn) else value).extend(items)

    def set(self, items: list[Any]) -> None:
        value = self.stack[-1]
        if isinstance(value, dict | StandIn):
            fill(value.items if isinstance(value, StandIn) else value, items)

    def persistent(self, name: Any) -> None:
        if self.stored is None:
            raise pickle.UnpicklingError("a value that is kept elsewhere")
        self.push(self.stored(name))

    def mapping(self) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        fill(made, self.since_mark())
        return made


def _size(value: object) -> int:
    """Bytes of a value, and of those in a tuple, which can be the state of an array."""
    return _own_size(value) + (sum(map(_own_size, value)) if isinstance(value, tuple) else 0)


def _own_size(value: object) -> int:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return len(value)
    return 8 * len(value) if isinstance(value, list | tuple | dict) else 0


def _refuse(_: _Machine, argument: object) -> None:
    raise pickle.UnpicklingError("values that are not in the file")


_Follow = Callable[[_Machine, Any], None]

_PUSHED = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
)  # fmt: skip
"""Instructions whose argument is a value."""

_FOLLOW: dict[str, _Follow] = {
    **dict.fromkeys(_PUSHED, _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), lambda *_: None),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda machine, number: machine.push(Global(f"extension {number}"))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, place: machine.push(machine.memo[place])),
    "NEXT_BUFFER": _refuse,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.drop(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "MEMOIZE": lambda machine, _: machine.memoize(),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.last(3))),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "FROZENSET": lambda machine, _: machine.push(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append(machine.last(1)),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: machine.push(machine.mapping()),
    "SETITEM": lambda machine, _: machine.set(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set(machine.since_mark()),
    "GLOBAL": lambda machine, name: machine.name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.last(2)),
    "INST": lambda machine, name: machine.call(Global(name.replace(" ", ".", 1)), tuple(machine.since_mark())),
    "OBJ": lambda machine, _: machine.object(),
    "NEWOBJ": lambda machine, _: machine.call(*machine.last(2)),
    "NEWOBJ_EX": lambda machine, _: machine.call(*machine.last(3)[:2]),
    "REDUCE": lambda machine, _: machine.call(*machine.last(2)),
    "BUILD": lambda machine, _: machine.build(),
    "PERSID": _Machine.persistent,
    "BINPERSID": lambda machine, _: machine.persistent(machine.stack.pop()),
    "STOP": lambda machine, _: machine.stop(),
}  # fmt: skip
"""What each instruction does, told the machine and the argument."""
