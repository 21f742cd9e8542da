"""The process that answers questions for the server: ``python -m zoo_index.server.worker``, ``ZOO_DB`` the index.

Questions and answers go over its standard input and output: a line of JSON that says how many bytes follow, then
these. It ends when its input does, so that no server leaves one behind.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, BinaryIO

__all__ = ["main"]


def main() -> None:
    """Answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    from zoo_index.foundation.logs import set_up
    from zoo_index.server.answers import answer
    from zoo_index.server.problems import problem_of
    from zoo_index.zoo.zoo import open_zoo

    set_up(0, as_json=False)
    zoo = open_zoo()
    while (asked := _read(sys.stdin.buffer)) is not None:
        head, body = asked
        try:
            told = {"status": 200, "body": answer(zoo, head["kind"], head["fields"], body)}
        except Exception as error:  # whatever it is, the next question is another one
            found = problem_of(error)
            told = {"status": found["status"], "body": found}
            if found["status"] == 500:
                sys.stderr.write(traceback.format_exc())
                sys.stderr.flush()
        content = json.dumps(told["body"], allow_nan=False).encode()
        answers.write(json.dumps({"status": told["status"], "bytes": len(content)}).encode() + b"\n" + content)
        answers.flush()


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    line = stream.readline()
    if not line:
        return None
    head: dict[str, Any] = json.loads(line)
    return head, stream.read(head["bytes"])


if __name__ == "__main__":
    main()
