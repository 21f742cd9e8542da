"""The process that answers questions for the server: ``python -m zoo_index.server.worker``, ``ZOO_DB`` the index.

Questions and answers go over its standard input and output: a line of JSON that says how many bytes follow, then
these. Status 0 is no answer: the question is a large one, and is to be asked again as such. The process ends when
its input does, so that no server leaves one behind.
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
    try:
        from zoo_index.foundation.logs import set_up
        from zoo_index.server.answers import LargeQuestionError, answer
        from zoo_index.server.problems import problem, problem_of
        from zoo_index.zoo.zoo import open_zoo

        set_up(0, as_json=False)
        zoo = open_zoo()
    except Exception as error:  # told to the server, which tells whoever started it
        if _read(sys.stdin.buffer) is not None:
            _write(answers, 500, {"detail": f"{type(error).__name__}: {error}"})
        raise
    while (asked := _read(sys.stdin.buffer)) is not None:
        head, body = asked
        try:
            _write(answers, 200, answer(zoo, head["kind"], head["fields"], body, is_large=head["is_large"]))
        except LargeQuestionError:
            _write(answers, 0, {})
        except Exception as error:  # whatever it is, the next question is another one
            found = problem_of(error)
            if head["kind"] == "ready":  # which the server itself asks
                found = problem(found["status"], str(error))
            elif found["status"] == 500:
                sys.stderr.write(traceback.format_exc())
                sys.stderr.flush()
            _write(answers, found["status"], found)


def _write(stream: BinaryIO, status: int, values: Any) -> None:
    content = json.dumps(values, allow_nan=False).encode()
    stream.write(json.dumps({"status": status, "bytes": len(content)}).encode() + b"\n" + content)
    stream.flush()


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    line = stream.readline()
    if not line:
        return None
    head: dict[str, Any] = json.loads(line)
    return head, stream.read(head["bytes"])


if __name__ == "__main__":
    main()
