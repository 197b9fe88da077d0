"""The command `netkit`: demo, doctor, gc and unshare.

Exit status: 0 all right, 1 something failed, 2 wrong usage, 130 ended by Ctrl-C; after `unshare` that of
its command, 126 when that may not be run and 127 when there is none such, as of a shell.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from netkit._gc import Leftover

OK, FAILED, NOT_RUNNABLE, NOT_FOUND, INTERRUPTED = 0, 1, 126, 127, 130

_DEMO = """\
Play five scenes with real packets: two namespaces joined by a veth; a bridge with an uplink; routes;
MASQUERADE; DNAT. Each shows the lines of netkit that make it, the commands a person would have typed,
what the packets answered, and how long it took. At the end the kernel is read: nothing is left.
The machine's own network is not touched."""

_DOCTOR = """\
Say what this machine can do: privileges, kernel features (tried in a throw-away namespace), NAT
backends, libraries and tools; for each thing missing, what it is called and what is lost without it."""

_GC = """\
Remove what programs that were killed have left in the kernel, where their guards were killed with them, as
with a whole container. It goes by their journals in /run/netkit/journal; where one is lost, links are found
by their alias, and names in /run/netns by leading nowhere. What is not what was made, or belongs to a
living program, is left alone, and said so. Nothing else is looked at. Removing takes root; without it is told
what is seen, and of what was made without root nothing is ever left."""

_UNSHARE = """\
Run a program in namespaces of its own: network, mounts, and for who is not root a user namespace in which
he is. lo is up; /run is empty but for /run/netns, so that names and the xtables lock are its own, too. The
program takes the place of this one: its exit status and signals are those of COMMAND.

    netkit unshare -- pytest tests
    netkit unshare -- jupyter lab --no-browser

Whatever the program does to the network ends with it. It has no way out of there but a socket or
process from outside; files are those of the machine, and files of root's stay root's."""


def parser() -> ArgumentParser:
    """What the command line is made of."""
    from argparse import ArgumentParser, RawDescriptionHelpFormatter

    import netkit

    form = RawDescriptionHelpFormatter
    top = ArgumentParser(
        prog="netkit", description="Linux virtual networking as Python objects.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"netkit {netkit.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="a container network in five scenes, with real packets",
        description=_DEMO,
        formatter_class=form,
        allow_abbrev=False,
    )
    demo.add_argument(
        "--backend",
        choices=("nftables", "iptables"),
        default="nftables",
        help="who does the NAT of scenes 4 and 5 (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)
    doctor = commands.add_parser(
        "doctor",
        help="what this machine can do, and what is missing",
        description=_DOCTOR,
        formatter_class=form,
        allow_abbrev=False,
    )
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of text")
    doctor.set_defaults(run=_doctor)
    gc = commands.add_parser(
        "gc",
        help="remove what killed programs have left",
        description=_GC,
        formatter_class=form,
        allow_abbrev=False,
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    gc.add_argument("--json", action="store_true", help="a JSON list instead of text")
    gc.set_defaults(run=_gc)
    unshare = commands.add_parser(
        "unshare",
        help="run a program in namespaces of its own, where it is root",
        usage="netkit unshare [-h] -- COMMAND [ARGUMENT ...]",
        description=_UNSHARE,
        formatter_class=form,
        allow_abbrev=False,
    )
    unshare.add_argument(
        "words", nargs="+", metavar="COMMAND", help="the program, and after it its arguments"
    )
    unshare.set_defaults(run=_unshare)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Wrong usage raises SystemExit(2), as argparse does."""
    from netkit.errors import NetkitError

    chosen = parser().parse_args(argv)
    try:
        status: int = chosen.run(chosen)
        sys.stdout.flush()
    except NetkitError as problem:
        return _failed(problem)
    except KeyboardInterrupt:
        print("netkit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us (head, a pager) has seen enough; without this the exit complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def _failed(problem: Exception) -> int:
    text = str(problem) or type(problem).__name__
    print(f"netkit: {text}", file=sys.stderr)
    for note in getattr(problem, "__notes__", ()):
        print(f"netkit: {note}", file=sys.stderr)
    return FAILED


def _demo(chosen: Namespace) -> int:
    from netkit._demo.play import run

    return run(chosen.backend)


def _doctor(chosen: Namespace) -> int:
    from netkit._diagnostics import examine
    from netkit._diagnostics.report import as_json, print_report

    examination = examine()
    if chosen.json:
        print(as_json(examination))
    else:
        print_report(examination)
    return OK


def _gc(chosen: Namespace) -> int:
    from netkit._gc import Leftover, gc

    found = gc(dry_run=chosen.dry_run)
    if chosen.json:
        import json

        print(json.dumps([{name: getattr(each, name) for name in Leftover._fields} for each in found]))
    else:
        for each in found:
            print(_told(each))
        if not found:
            print("nothing is left")
    return FAILED if any(each.outcome == "failed" for each in found) else OK


def _told(each: Leftover) -> str:
    owner = f" of {each.owner}" if each.owner else ""
    reason = f": {each.reason}" if each.reason else ""
    return f"{each.outcome}: {each.what}{owner}{reason}"


def _unshare(chosen: Namespace) -> int:
    import shutil

    from netkit._system.signals import restore_ignored
    from netkit._system.user_namespace import isolate

    words: list[str] = chosen.words
    program = words[0]
    path = shutil.which(program)
    if path is None:
        found = os.path.exists(program) and "/" in program
        print(f"netkit: {program}: {'it may not be run' if found else 'no such program'}", file=sys.stderr)
        return NOT_RUNNABLE if found else NOT_FOUND
    isolate()
    restore_ignored()
    try:
        os.execv(path, words)
    except OSError as problem:
        print(f"netkit: {path}: {problem.strerror}", file=sys.stderr)
        return NOT_RUNNABLE
