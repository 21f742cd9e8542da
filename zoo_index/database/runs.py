"""Runs and the lease: who works on the index, since when, and what came of it.

One process at a time may refresh. It holds the lease, shows that it lives by a heartbeat, and writes under a token
that rises whenever the lease changes hands: a holder that was thought dead finds out at its next write, which is
refused. All times are the database's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from transfer.processes import Process, this_process
from zoo_index.database.clock import now
from zoo_index.database.schema import LEASE, RUN
from zoo_index.errors import LeaseHeldError, LeaseLostError

__all__ = [
    "LEASE_SECONDS",
    "beat",
    "end_run",
    "last_runs",
    "lease_row",
    "note_lost",
    "release",
    "start_run",
    "take",
]

LEASE_SECONDS = 60.0
"""A holder on another machine that was not heard of for so long counts as dead."""

_REFRESH = "refresh"


def take(connection: Connection, where: str) -> int:
    """Take the lease, from nobody or from a dead holder; return the new token.

    Raises
    ------
    LeaseHeldError
        If a live process holds it.
    """
    row = lease_row(connection)
    if row["holder"] and not row["is_dead"]:
        holder, since = row["holder"], f"{row['since_utc']:%Y-%m-%d %H:%M:%S}"
        age = max(0.0, (row["now"] - row["heartbeat_utc"]).total_seconds())
        host = holder["machine"].partition("|")[0]
        raise LeaseHeldError(
            f"expected to refresh the index '{where}', run {row['run_id']} is at it since {since} UTC (process "
            f"{holder['pid']} on {host}, last heard of {age:.0f} s ago); try again when it is done"
        )
    if row["run_id"] is not None:
        connection.execute(
            update(RUN).where(RUN.c.id == row["run_id"], RUN.c.status == "running").values(status="lost")
        )
    token = int(row["token"]) + 1
    connection.execute(
        update(LEASE)
        .where(LEASE.c.name == _REFRESH)
        .values(
            token=token,
            holder=json.dumps(asdict(this_process())),
            since_utc=now(),
            heartbeat_utc=now(),
            run_id=None,
        )
    )
    return token


def lease_row(connection: Connection) -> dict[str, Any]:
    """Return the lease: token, run_id, since_utc, the holder (empty if free), and whether the holder is dead."""
    query = select(LEASE, now().label("now")).where(LEASE.c.name == _REFRESH)
    row = dict(connection.execute(query).mappings().one())
    row["holder"] = json.loads(row["holder"] or "{}")
    if not row["holder"]:
        return {**row, "is_dead": False}
    alive = Process(**row["holder"]).is_alive()
    age = (row["now"] - row["heartbeat_utc"]).total_seconds()
    # what runs on this machine is seen; a clock that jumped must not kill it
    return {**row, "is_dead": age > LEASE_SECONDS if alive is None else not alive}


def beat(connection: Connection, token: int) -> None:
    """Show that the holder of a token lives; to be called in each of its transactions.

    Raises
    ------
    LeaseLostError
        If the lease has changed hands.
    """
    result = connection.execute(
        update(LEASE).where(LEASE.c.name == _REFRESH, LEASE.c.token == token).values(heartbeat_utc=now())
    )
    if result.rowcount != 1:
        raise LeaseLostError(
            "expected to hold the lease of the index, another process took it over since this one was not heard "
            "of; what was finished is kept, run it again"
        )
    connection.execute(
        update(RUN)
        .where(RUN.c.id == select(LEASE.c.run_id).where(LEASE.c.name == _REFRESH).scalar_subquery())
        .values(heartbeat_utc=now())
    )


def release(connection: Connection, token: int) -> None:
    """Give the lease back, if it is still held under this token."""
    connection.execute(
        update(LEASE)
        .where(LEASE.c.name == _REFRESH, LEASE.c.token == token)
        .values(holder="", since_utc=None, heartbeat_utc=None)
    )


def start_run(
    connection: Connection, kind: str, *, detail: str = "", versions: Mapping[str, str] | None = None
) -> int:
    """Open a run; return its id. One of a refresh is noted with the lease."""
    result = connection.execute(
        insert(RUN).values(
            kind=kind,
            status="running",
            started_utc=now(),
            heartbeat_utc=now(),
            detail=detail,
            versions=json.dumps(dict(versions or {})),
            **dict.fromkeys(
                ("n_planned", "n_done", "n_failed", "n_new", "n_changed", "n_unchanged", "n_retired"), 0
            ),
        )
    )
    assert result.inserted_primary_key is not None
    run = int(result.inserted_primary_key[0])
    if kind == _REFRESH:
        connection.execute(update(LEASE).where(LEASE.c.name == _REFRESH).values(run_id=run))
    return run


def end_run(connection: Connection, run: int, status: str, **values: Any) -> None:
    """Close a run; `values` are columns of it."""
    connection.execute(update(RUN).where(RUN.c.id == run).values(status=status, finished_utc=now(), **values))


def last_runs(connection: Connection, n: int = 1) -> list[dict[str, Any]]:
    """Return the newest runs of refreshes and additions, newest first; imports of results leave nothing unfinished.

    One whose process is gone is shown as lost, though nobody has noted that yet.
    """
    query = select(RUN).where(RUN.c.kind != "metrics").order_by(RUN.c.id.desc()).limit(n)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    lease = lease_row(connection)
    for row in rows:
        row["versions"] = json.loads(row["versions"])
        if row["status"] == "running" and (lease["run_id"] != row["id"] or lease["is_dead"] or not lease["holder"]):
            row["status"] = "lost"
        row["seconds"] = _seconds(row["started_utc"], row["finished_utc"])
    return rows


def note_lost(connection: Connection) -> int:
    """Note unfinished runs whose process is gone as lost; return how many."""
    lease = lease_row(connection)
    is_held = lease["holder"] and not lease["is_dead"]
    gone = update(RUN).where(RUN.c.status == "running")
    if is_held:
        gone = gone.where(RUN.c.id != lease["run_id"])
    return int(connection.execute(gone.values(status="lost")).rowcount)


def _seconds(started: datetime, finished: datetime | None) -> float | None:
    return None if finished is None else max(0.0, (finished - started).total_seconds())
