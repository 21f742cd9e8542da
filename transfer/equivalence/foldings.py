"""Values that several source tensors make together: a layer with the batch norm behind it, a mean without a bias.

A batch norm in evaluation is one factor and one shift for each channel, ``gamma / sqrt(var + epsilon)`` and ``beta
- mean * factor``. What writes the channels can take over both; a constant that is added to the channels can be
taken out of the running mean instead. The arithmetic is done in single precision at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from transfer.errors import TransferError

if TYPE_CHECKING:
    import torch

    from transfer.weights.reading import Reader

__all__ = ["BatchNorm", "Folding", "LessBias", "ScaledByNorm", "ShiftedByNorm"]


class Folding(Protocol):
    """Makes the value of a source tensor another one, with the help of other source tensors, of the same shape.

    Implementations are frozen dataclasses, so that plans can be compared and printed.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the other tensors."""
        ...

    def __call__(self, value: torch.Tensor, read: Reader) -> torch.Tensor:
        """Return the new value; `value` stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Names of the tensors of a batch norm.

    Parameters
    ----------
    weight, bias : str
        Empty where it has none.
    mean, var : str
    width : int
        Number of channels.
    epsilon : float
    """

    weight: str
    bias: str
    mean: str
    var: str
    width: int
    epsilon: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors that there are."""
        return tuple(name for name in (self.weight, self.bias, self.mean, self.var) if name)

    def factor(self, read: Reader) -> torch.Tensor:
        """Return what each channel is multiplied by, of shape (width,)."""
        factor = (_vector(self.var, self.width, read) + self.epsilon).rsqrt()
        return factor * _vector(self.weight, self.width, read).to(factor.device) if self.weight else factor

    def shift(self, read: Reader, bias: str = "") -> torch.Tensor:
        """Return what is added to each channel, of shape (width,), once `bias` has been added before the norm."""
        factor = self.factor(read)
        given = -_vector(self.mean, self.width, read).to(factor.device)
        if bias:
            given = given + _vector(bias, self.width, read).to(factor.device)
        shift = given * factor
        return shift + _vector(self.bias, self.width, read).to(factor.device) if self.bias else shift


@dataclass(frozen=True, slots=True)
class ScaledByNorm:
    """A weight whose outputs are multiplied as the batch norm behind it multiplies them.

    Parameters
    ----------
    norm : BatchNorm
    n_groups : int
    is_transposed : bool
        Whether the outputs, of one group, are the second dimension.
    """

    norm: BatchNorm
    n_groups: int = 1
    is_transposed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the other tensors."""
        return tuple(name for name in self.norm.names if name != self.norm.bias)

    def __call__(self, value: torch.Tensor, read: Reader) -> torch.Tensor:
        """Return the weight of shape (outputs, ...) or (inputs, outputs of a group, ...), multiplied."""
        factor = self.norm.factor(read).to(value.device)
        value = _precise(value)
        if not self.is_transposed:
            return value * factor.reshape(-1, *(1,) * (value.dim() - 1))
        by_group = value.reshape(self.n_groups, -1, *value.shape[1:])
        factors = factor.reshape(self.n_groups, 1, -1, *(1,) * (value.dim() - 2))
        return (by_group * factors).reshape(value.shape)


@dataclass(frozen=True, slots=True)
class ShiftedByNorm:
    """A bias that adds what the batch norm adds, and what it makes of the bias before it.

    Parameters
    ----------
    norm : BatchNorm
    bias : str
        Of the layer before the norm; empty where it has none.
    """

    norm: BatchNorm
    bias: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the other tensors."""
        return (*self.norm.names, self.bias) if self.bias else self.norm.names

    def __call__(self, value: torch.Tensor, read: Reader) -> torch.Tensor:
        """Return the bias; `value`, one of the vectors that it is made of, only says where."""
        return self.norm.shift(read, self.bias).to(value.device)


@dataclass(frozen=True, slots=True)
class LessBias:
    """A running mean of what comes without the bias that the source adds before.

    Parameters
    ----------
    bias : str
    """

    bias: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the other tensors."""
        return (self.bias,)

    def __call__(self, value: torch.Tensor, read: Reader) -> torch.Tensor:
        """Return the mean less the bias."""
        return _precise(value) - _vector(self.bias, len(value), read).to(value.device)


def _vector(name: str, width: int, read: Reader) -> torch.Tensor:
    value = read(name)
    if tuple(value.shape) != (width,):
        raise TransferError(
            f"expected source tensor {name!r} of shape {(width,)} as planned, got {tuple(value.shape)}; "
            "make the plan again from the weights that are to be transferred"
        )
    return _precise(value)


def _precise(value: torch.Tensor) -> torch.Tensor:
    return value.detach() if value.is_complex() or value.itemsize >= 4 else value.detach().float()
