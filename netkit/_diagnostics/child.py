"""A program: enter a user namespace with a network namespace, try the features there, print JSON.

It runs in a process of its own: unshare(CLONE_NEWUSER) is refused to one with a second thread.
With the argument `enter` it only says whether a user namespace can be had.
"""

from __future__ import annotations

import json
import os
import sys

from netkit._system.user_namespace import isolate
from netkit.errors import KernelError


def main() -> None:
    """Print one JSON object: ``refusal``, ``features``, ``backends``."""
    answer: dict[str, object] = {"refusal": None}
    try:
        isolate()
    except KernelError as problem:
        answer["refusal"] = f"{os.strerror(problem.errno or 0)}: cannot {problem.operation}"
    else:
        if "enter" not in sys.argv[1:]:
            answer |= _tried()
    print(json.dumps(answer))


def _tried() -> dict[str, object]:
    from netkit._diagnostics.features import find_backends, find_features

    return {
        "features": [finding.as_dict() for finding in find_features()],
        "backends": [finding.as_dict() for finding in find_backends()],
    }


if __name__ == "__main__":
    main()
