"""Bring parts of tensors to where the target lives.

On the same device, and to the CPU, a copy is a copy. To a CUDA device parts go through a few slots of page-locked
memory: while one slot travels on a stream of its own, the next one is gathered and cast on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch

__all__ = ["SLOT_BYTES", "Lane", "Stage"]

SLOT_BYTES = 16 * 2**20
"""Large enough for full speed over the bus; two of them are little beside the layers of a network."""


class Stage:
    """Copies parts to places, whatever device either is on; `finish` it before the target is used."""

    def __init__(self) -> None:
        self._lanes: dict[torch.device, Lane] = {}

    def copy(self, part: torch.Tensor, place: torch.Tensor) -> None:
        """Copy, now or until `finish`.

        Parameters
        ----------
        part, place : Tensor
            Of equal shape.
        """
        assert part.shape == place.shape  # copy_ would broadcast
        device = place.device
        if device.type != "cuda" or part.device.type != "cpu":
            place.copy_(part)
            return
        if device not in self._lanes:
            self._lanes[device] = Lane(device)
        self._lanes[device].copy(part, place)

    def finish(self) -> None:
        """Wait until everything has arrived."""
        for lane in self._lanes.values():
            lane.finish()


class Lane:
    """The way from the CPU to one device.

    Parameters
    ----------
    device : torch.device
        On the CPU itself streams and events do nothing, and everything else is as elsewhere.
    slot_bytes, n_slots : int
        Size and number of the buffers.
    """

    def __init__(self, device: torch.device, slot_bytes: int = SLOT_BYTES, n_slots: int = 2) -> None:
        self._device = device
        self._backend = torch.get_device_module(device)
        self._stream = self._backend.Stream(device)
        # constants set so far, and whatever else is under way there, come first
        self._stream.wait_stream(self._backend.current_stream(device))
        is_pinned = device.type != "cpu"
        self._slots = [torch.empty(slot_bytes, dtype=torch.uint8, pin_memory=is_pinned) for _ in range(n_slots)]
        self._left = [self._backend.Event() for _ in range(n_slots)]
        self._n_copies = 0

    def copy(self, part: torch.Tensor, place: torch.Tensor) -> None:
        """Gather a part in slots, in the element type of the place, and send it off."""
        for piece, goal in _pieces(part, place, len(self._slots[0]) // place.element_size()):
            i = self._n_copies % len(self._slots)
            self._n_copies += 1
            self._left[i].synchronize()  # what the slot held before has arrived
            slot = self._slots[i][: piece.numel() * goal.element_size()].view(goal.dtype).view(piece.shape)
            slot.copy_(piece)
            with self._backend.stream(self._stream):
                goal.copy_(slot, non_blocking=True)
                self._left[i].record(self._stream)

    def finish(self) -> None:
        """Wait until everything has arrived."""
        for event in self._left:
            event.synchronize()
        self._backend.current_stream(self._device).wait_stream(self._stream)


def _pieces(
    part: torch.Tensor, place: torch.Tensor, n_elements: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Cut a pair along its leading dimensions into pieces of at most `n_elements`."""
    if part.numel() <= n_elements:
        yield part, place
        return
    n_rows = n_elements // prod(part.shape[1:])
    if n_rows:
        yield from zip(torch.split(part, n_rows), torch.split(place, n_rows), strict=True)
        return
    for piece, goal in zip(part, place, strict=True):
        yield from _pieces(piece, goal, n_elements)
