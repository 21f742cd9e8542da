"""The device that a user names, and bringing a network there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from transfer.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["find_device", "move_to"]


def find_device(name: str) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` for CUDA where there is some, else the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    InputError
        If it is no such name, or the machine has no such device.
    """
    import torch

    named = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d{1,4})", name)
    if named is None:
        raise InputError(f"expected a device auto, cpu, cuda or cuda:N (N a number), got {name!r}")
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not n_devices):
        return torch.device("cpu")
    if not n_devices:
        raise InputError(
            f"expected a CUDA device for {name!r}, this machine or this build of torch has none; "
            "take --device cpu, or auto"
        )
    if named[2] is None:
        return torch.device("cuda", torch.cuda.current_device())
    if int(named[2]) >= n_devices:
        last = f"cuda:0 to cuda:{n_devices - 1}" if n_devices > 1 else "cuda:0"
        raise InputError(f"expected {last}, which this machine has, got {name!r}")
    return torch.device("cuda", int(named[2]))


def move_to(module: nn.Module, device: torch.device) -> nn.Module:
    """Bring a network to a device; one without values (meta tensors) stays, a transfer refuses it anyway.

    Raises
    ------
    InputError
        If there is no room for it.
    """
    import torch

    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        return module
    try:
        return module.to(device)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"expected room for the target on {device}, it has too little free memory; take another --device"
        ) from error
