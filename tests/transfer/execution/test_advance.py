"""A transfer tells how far it is."""

from __future__ import annotations

import nets

import transfer


def test_the_bytes_that_are_done_reach_those_that_are_to_do() -> None:
    source, target = nets.randomise(nets.mlp(3, 40, 2), 1), nets.randomise(nets.mlp(3, 30, 2), 2)
    told: list[tuple[int, int]] = []
    report = transfer.transfer(source, target, advance=lambda done, planned: told.append((done, planned)))
    n_bytes = 4 * sum(tensor.n_written for tensor in report.tensors)
    assert [planned for _, planned in told] == [n_bytes] * (2 * len(report.tensors))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (n_bytes, n_bytes)
    assert any(0 < done < n_bytes for done, _ in told)
