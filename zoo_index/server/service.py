"""What the server knows: the map of the present generation, and answers that were given before.

Every half second it looks whether a refresh has made another generation. Questions are answered from that one at
once; its map follows when it is made, and until then the one before is shown.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from transfer.errors import InputError, ZooError
from zoo_index.foundation.logs import LOGGER
from zoo_index.hub.availability import Availability
from zoo_index.index.layout import load_layout, open_layout
from zoo_index.index.view import View
from zoo_index.server.atlas import Atlas, make_atlas
from zoo_index.server.details import entry_values, neighbour_values
from zoo_index.server.limits import Limits
from zoo_index.server.naming import Names
from zoo_index.server.neighbours import Neighbours
from zoo_index.server.problems import ProblemError
from zoo_index.server.workers import Answer, Workers
from zoo_index.zoo.zoo import Zoo

__all__ = ["Service"]

_LOOK_SECONDS = 0.5
_MOST_KEPT = 2048
"""Answers, of some kilobytes each."""

_MAP_SECONDS = 900.0


class Service:
    """Answers everything that the server is asked.

    Parameters
    ----------
    zoo : Zoo
    limits : Limits
    """

    def __init__(self, zoo: Zoo, limits: Limits) -> None:
        self._zoo = zoo
        self._workers = Workers(zoo.store.place, limits)
        self._view: View | None = None
        self._atlas: Atlas | None = None
        self._names: Names | None = None
        self._kept: OrderedDict[tuple[int, str], Answer] = OrderedDict()
        self._asked: dict[tuple[int, str], asyncio.Task[Answer]] = {}
        self._following: asyncio.Task[None] | None = None
        self._n_asked = 0
        self._is_lost = False
        self._told = ""
        self.failure: ZooError | None = None

    async def start(self) -> None:
        """Start the workers, make the map, and follow the index from now on.

        What goes wrong is kept in `failure`, for whoever runs the server.
        """
        try:
            await self._workers.start()
            await self._look()
        except (ZooError, ProblemError, OSError) as error:
            what = "expected to read the index in a worker of the server"
            why = error.__cause__ or error
            self.failure = error if isinstance(error, ZooError) else InputError(f"{what}, failed: {why}")
            raise
        self._following = asyncio.create_task(self._follow())

    def stop(self) -> None:
        """Refuse what waits, and what comes; what is being answered goes on."""
        if self._following is not None:
            self._following.cancel()
        self._workers.stop()

    async def end(self) -> None:
        """End everything."""
        self.stop()
        if self._following is not None:
            await asyncio.gather(self._following, return_exceptions=True)
        for task in list(self._asked.values()):
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._workers.end()

    @property
    def atlas(self) -> Atlas:
        """The map that is shown."""
        if self._atlas is None:
            raise ProblemError(503, "the map is being made; ask again in a few seconds", {"Retry-After": "5"})
        return self._atlas

    @property
    def generation(self) -> int:
        """The generation that questions are answered from."""
        return self._view.generation if self._view is not None else 0

    def is_full(self) -> bool:
        """Whether as many questions wait as may."""
        return self._workers.is_full

    def check(self) -> None:
        """Refuse where there is no index to answer from.

        Raises
        ------
        ProblemError
            503.
        """
        if self._is_lost or not self.generation:
            raise ProblemError(
                503, "expected an index that can be read, the server has none at the moment", {"Retry-After": "5"}
            )

    def status(self) -> dict[str, Any]:
        """Return what the server holds and has done."""
        atlas = self.atlas
        return {
            "generation": self.generation,
            "map_generation": atlas.generation,
            "architectures": len(atlas),
            "entries": len(atlas.entry_names),
            "questions": self._n_asked,
            "pending": self._workers.n_pending,
        }

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look()
                self._told = ""
            except (ZooError, ProblemError, OSError) as error:  # as while it is moved; the next look may find it
                if str(error) != self._told:  # once, not twice a second
                    LOGGER.warning("the index could not be looked at: %s", error)
                self._told = str(error)

    async def _look(self) -> None:
        try:
            view = await asyncio.to_thread(self._zoo.view)
        except (ZooError, OSError):
            self._is_lost = True
            raise
        self._view, self._is_lost = view, False
        if view.generation and (self._atlas is None or self._atlas.generation != view.generation):
            await self._workers.ask("map", {}, seconds=_MAP_SECONDS)
            self._atlas, self._names = await asyncio.to_thread(self._read, view)

    def _read(self, view: View) -> tuple[Atlas, Names]:
        layout = load_layout(self._zoo.store, view.generation)
        atlas = make_atlas(view, layout or open_layout(self._zoo.store, view.generation))
        return atlas, Names(atlas)

    async def ask(self, kind: str, fields: Mapping[str, Any], body: bytes) -> Answer:
        """Answer a question: as before if it was asked before, else by a worker.

        Raises
        ------
        ProblemError
            As `Workers.ask`.
        """
        self._n_asked += 1
        digest = hashlib.sha256(json.dumps([kind, dict(fields)]).encode() + b"\n" + body).hexdigest()
        key = (self.generation, digest)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._asked:  # who asks the same meanwhile waits for the same answer
            task = asyncio.create_task(self._answered(key, kind, fields, body))
            self._asked[key] = task
            task.add_done_callback(lambda done: (self._asked.pop(key, None), done.cancelled() or done.exception()))
        return await asyncio.shield(self._asked[key])

    async def _answered(self, key: tuple[int, str], kind: str, fields: Mapping[str, Any], body: bytes) -> Answer:
        answer = await self._workers.ask(kind, fields, body)
        if answer.status == 200:
            self._kept[key] = answer
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return answer

    def resolve(self, name: str) -> dict[str, Any]:
        """Return the architecture that a name means, or None and names that are like it."""
        generation, names = self.atlas.generation, self._names
        assert names is not None
        meant = names.meant(name)
        return {"generation": generation, "name": meant, "alike": [] if meant is not None else names.alike(name)}

    async def architecture(self, key: str) -> dict[str, Any]:
        """Return all that is told of one architecture (see `details`).

        Raises
        ------
        ProblemError
            404 if there is none with this key; as `Workers.ask`.
        """
        atlas = self.atlas
        row = atlas.row(key)
        if row is None:
            raise ProblemError(404, f"expected an architecture of the index, got {key!r}; see /api/architectures")
        id_ = int(atlas.ids[row])
        answer = await self.ask("architecture", {"id": id_}, b"")
        told = json.loads(answer.content)
        if answer.status != 200:
            raise ProblemError(answer.status, told["detail"])
        entries = await asyncio.to_thread(self._entries, [id_])
        points = atlas.points(np.array([row]))
        found = Neighbours(tuple(map(tuple, told["sources"])), tuple(map(tuple, told["targets"])))
        return {
            "generation": atlas.generation,
            "name": atlas.keys[row],
            "family": atlas.family.names[points["family"][0]],
            "catalogue": atlas.catalogue.names[points["catalogue"][0]],
            "params": points["params"][0],
            "x": points["x"][0],
            "y": points["y"][0],
            "top1": points["top1"][0],
            "weights": entries,
            "blocks": told["blocks"],
            "order": told["order"],
            **neighbour_values(found, atlas),
        }

    def _entries(self, ids: list[int]) -> list[dict[str, Any]]:
        view, availability = self._view, Availability()
        assert view is not None
        rows = sorted(view.entries.of(ids), key=lambda entry: entry["position"])
        return [entry_values(entry, available=availability.find(entry) is not None) for entry in rows]

    async def entries_of(self, rows: list[int]) -> list[dict[str, Any]]:
        """Return all entries of some architectures, by their rows in the atlas."""
        ids = self.atlas.ids[rows].tolist()
        return await asyncio.to_thread(self._entries, ids)
