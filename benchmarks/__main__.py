"""`python -m benchmarks [CLAIM ...]`: every claim, or the named ones, each beside its peers."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import tempfile
from pathlib import Path

from . import machine, publish
from .floor import compile_floor
from .harness import Setting, Unavailable
from .isolate import enter
from .plot import figures
from .report import Figures, Result

ROUNDS = dict.fromkeys(
    (
        "demo_build",
        "star",
        "read_links",
        "operations",
        "ports",
        "connections",
        "run_command",
        "import_first",
        "rootless",
        "memory",
        "fixtures",
        "many",
    ),
    15,
)


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(ROUNDS)}; default: all")
    parser.add_argument("--rounds", type=int, help="rounds per claim")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="the base, and who has TEXT in the name; may be repeated",
    )
    parser.add_argument(
        "--size", action="append", type=int, metavar="N", help="containers of a star; may be repeated"
    )
    parser.add_argument(
        "--phase", action="append", metavar="TEXT", help="of ports: 'at once' or 'one by one' alone"
    )
    parser.add_argument("--quick", action="store_const", const=5, dest="rounds", help="5 rounds per claim")
    parser.add_argument("--json", metavar="FILE", help="write every measured second there too; - is stdout")
    parser.add_argument("--plot", metavar="DIR", help="draw charts (SVG) into this directory")
    parser.add_argument("--publish", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--check", action="store_true", help="status 1 if a claim does not hold")
    options = parser.parse_args(argv)
    unknown = set(options.claims) - set(ROUNDS)
    if unknown:
        parser.error(f"no such claim: {', '.join(sorted(unknown))}")
    return options


def measure(options: argparse.Namespace) -> list[Result | Figures]:
    """Run them one after the other, printing each table as it is there."""
    results = []
    only = options.only

    def wanted(name: str) -> bool:
        return only is None or any(text in name for text in only)

    with tempfile.TemporaryDirectory() as directory:
        floor = compile_floor(Path(directory))
        for claim in options.claims or ROUNDS:
            module = importlib.import_module(f"benchmarks.{claim}")
            setting = Setting(floor, options.rounds or ROUNDS[claim], wanted, options.size, options.phase)
            for result in module.run(setting):
                print(result.table(), end="\n\n", flush=True)
                results.append(result)
    return results


def _keep(options: argparse.Namespace, results: list[dict[str, object]]) -> None:
    """Where the options want the figures."""
    if options.json:
        text = json.dumps({"machine": machine.describe(), "results": results}, indent=1)
        print(text) if options.json == "-" else Path(options.json).write_text(text + "\n")
    if options.plot:
        figures.draw(results, Path(options.plot))
    if options.publish:
        publish.merge(results, beside=options.only is not None)
        publish.render()


def main(argv: list[str]) -> int:
    """The program."""
    options = arguments(argv)
    enter(argv)
    print(f"Linux {platform.release()}, Python {platform.python_version()}; warm-up rounds are left out\n")
    try:
        results = measure(options)
    except Unavailable as reason:
        sys.exit(f"cannot measure: {reason}")
    _keep(options, [result.json() for result in results])
    refuted = [claim for result in results for claim in result.claims if claim.held is False]
    return 1 if options.check and refuted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
