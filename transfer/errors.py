"""The errors of both packages: one root, one child per situation.

Every message says what was expected, what was found and what to do about it.

    ZooError
    +-- InputError            something the caller gave cannot be used
    |   +-- CheckpointError   a weights file that cannot be read safely
    |   +-- TargetError       a target that does not yield one network
    |   +-- MethodError       a method or measure that does not exist or does not apply
    +-- OutputError           a result that cannot be written
    +-- TransferError         weights that do not fit the plan made for them
    +-- CoverageError         a transfer that would fill less of the target than asked for
    (zoo_index/errors.py adds the errors of the index)
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CoverageError",
    "InputError",
    "MethodError",
    "OutputError",
    "TargetError",
    "TransferError",
    "ZooError",
]


class ZooError(Exception):
    """Root of everything that these packages raise on purpose.

    Attributes
    ----------
    exit_code : int
        Status that the command line ends with: 1 for a refusal, 2 for bad usage or input.
    """

    exit_code = 1


class InputError(ZooError, ValueError):
    """Something the caller gave cannot be used."""

    exit_code = 2


class CheckpointError(InputError):
    """A weights file that does not exist, is damaged, or is not safe to read."""


class TargetError(InputError):
    """A target that does not yield exactly one network."""


class MethodError(InputError):
    """A method or measure that does not exist, or does not apply to this input."""


class OutputError(ZooError, OSError):
    """A result that cannot be written; whatever stood there before is unharmed."""

    exit_code = 2


class TransferError(ZooError, RuntimeError):
    """Weights that do not fit the plan that was made for them."""


class CoverageError(ZooError):
    """A transfer that would fill less of the target than asked for; the target is unchanged."""
