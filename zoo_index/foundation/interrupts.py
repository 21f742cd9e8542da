"""Ctrl-C and SIGTERM, of which none gets lost.

Python raises them wherever it is at the moment: in the middle of an import that tries something else after any
failure, in a destructor, or an instant before the program begins to wait. Then nobody hears of them. What waits
for long therefore asks again.
"""

from __future__ import annotations

import signal

__all__ = ["check", "install"]

_asked: list[type[BaseException] | BaseException] = []


def install() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, and SIGTERM SystemExit with 143, which ends blocks as well."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it may be ignored, as under nohup
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)


def check() -> None:
    """Raise once more what was asked for, if the program still goes on."""
    if _asked:
        raise _asked[-1]


def _interrupt(_signal: int, _frame: object) -> None:
    _asked.append(KeyboardInterrupt)
    raise KeyboardInterrupt


def _terminate(_signal: int, _frame: object) -> None:
    _asked.append(SystemExit(143))
    raise SystemExit(143)
