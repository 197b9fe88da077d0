"""The command `netkit`: demo, doctor, show, up, down, exec, gc and unshare.

All but `exec` and `unshare` have --json: of these two, what is written is the program's alone.

Exit status: 0 all right, 1 something failed, 2 wrong usage, 130 ended by Ctrl-C; after `exec` and `unshare`
that of their command, 126 when that may not be run and 127 when there is none such, as of a shell.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction
    from collections.abc import Callable, Sequence

    from netkit._gc import Leftover

    _Commands = _SubParsersAction[ArgumentParser]

OK, FAILED, INTERRUPTED = 0, 1, 130

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

_SHOW = """\
Draw the network: this process's namespace (`here`) and those of `ip netns list`, or the ones named, with
their links, addresses, default and other routes, NAT rules, and the veths between them. Everything is
only read. NAME may also be a path, or the number of a process.

    netkit show
    netkit show box1 box2 --html network.html"""

_UP = """\
Build the network that a file describes (JSON, TOML or YAML, see the documentation of Topology) and leave
it: its namespaces are those of `ip netns`, by their names in the plan, and everything else is in them.
All of it is made, or nothing. `netkit down` takes it down again. Without root nothing outlives a command:
`netkit unshare -- sh` gives a shell in which it works."""

_DOWN = """\
Take down what `netkit up` made, by the name it has or by its file; without either, if only one is up.
A namespace that somebody has put in the place of one of these is left alone, and said so. Programs that
run in them are not ended; they are named."""

_EXEC = """\
Run a program in a namespace, as `ip netns exec` does. The program takes the place of this one: its exit
status, its signals, its output (hence no --json) and the terminal are its own. NAMESPACE may also be a path,
or the number of a process.

    netkit exec box1 -- ping -c 1 10.0.0.1"""

_UNSHARE = """\
Run a program in namespaces of its own: network, mounts, and for who is not root a user namespace in which
he is. lo is up; /run is its own, so that names and the xtables lock are, too; of the machine's there is what
programs need, such as XDG_RUNTIME_DIR. The program takes the place of this one: exit status, signals and
output (hence no --json) are those of COMMAND.

    netkit unshare -- pytest tests
    netkit unshare -- jupyter lab --no-browser

Whatever the program does to the network ends with it. It has no way out of there but a socket or
process from outside; files are those of the machine, and files of root's stay root's."""


def parser() -> ArgumentParser:
    """What the command line is made of."""
    from argparse import ArgumentParser

    import netkit

    top = ArgumentParser(
        prog="netkit", description="Linux virtual networking as Python objects.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"netkit {netkit.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    _add_looks(commands)
    _add_changes(commands)
    _add_programs(commands)
    return top


def _add(
    commands: _Commands,
    name: str,
    run: Callable[[Namespace], int],
    help: str,
    description: str,
    usage: str | None = None,
) -> ArgumentParser:
    from argparse import RawDescriptionHelpFormatter

    added = commands.add_parser(
        name,
        help=help,
        description=description,
        usage=usage,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    added.set_defaults(run=run)
    return added


def _json(command: ArgumentParser, what: str = "one JSON object instead of text") -> None:
    command.add_argument("--json", action="store_true", help=what)


def _add_looks(commands: _Commands) -> None:
    demo = _add(commands, "demo", _demo, "a container network in five scenes, with real packets", _DEMO)
    demo.add_argument(
        "--backend",
        choices=("nftables", "iptables"),
        default="nftables",
        help="who does the NAT of scenes 4 and 5 (default: %(default)s)",
    )
    _json(demo)
    _json(_add(commands, "doctor", _doctor, "what this machine can do, and what is missing", _DOCTOR))
    show = _add(commands, "show", _show, "draw the network of this machine", _SHOW)
    show.add_argument("names", nargs="*", metavar="NAME", help="only these namespaces; `here` is this one")
    _json(show)
    show.add_argument(
        "--html", metavar="FILE", help="also write a page that needs nothing else; - for stdout"
    )


def _add_changes(commands: _Commands) -> None:
    up = _add(commands, "up", _up, "build the network of a file and leave it", _UP)
    up.add_argument("file", metavar="FILE", help="the plan: .json, .toml, .yaml or .yml")
    up.add_argument("--name", help="what to call it (default: the file's name without its ending)")
    _json(up)
    down = _add(commands, "down", _down, "take down what `up` made", _DOWN)
    down.add_argument("what", nargs="?", metavar="NAME|FILE", help="which one")
    _json(down)
    gc = _add(commands, "gc", _gc, "remove what killed programs have left", _GC)
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    _json(gc, "a JSON list instead of text")


def _add_programs(commands: _Commands) -> None:
    usage = "netkit exec [-h] NAMESPACE -- COMMAND [ARGUMENT ...]"
    execute = _add(commands, "exec", _exec, "run a program in a namespace", _EXEC, usage)
    execute.add_argument("namespace", metavar="NAMESPACE", help="its name in /run/netns")
    usage = "netkit unshare [-h] -- COMMAND [ARGUMENT ...]"
    what = "run a program in namespaces of its own, where it is root"
    unshare = _add(commands, "unshare", _unshare, what, _UNSHARE, usage)
    for each in (execute, unshare):
        each.add_argument(
            "words", nargs="+", metavar="COMMAND", help="the program, and after it its arguments"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Wrong usage raises SystemExit(2), as argparse does."""
    from netkit.errors import NetkitError

    _have_streams()
    try:
        status = _run(sys.argv[1:] if argv is None else [*argv])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("netkit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read us (head, a pager) has seen enough
        _end_output()
        return FAILED
    except NetkitError as problem:
        return _failed(problem)
    except OSError as problem:  # the output's disk is full, say
        _end_output()
        named = f"{problem.filename}: " if problem.filename is not None else ""
        _complain(f"{named}{problem.strerror or problem}")
        return FAILED
    return status


def _run(words: list[str]) -> int:
    try:
        chosen = parser().parse_args(words)
    except SystemExit:
        sys.stdout.flush()  # of `--help | true`: at exit it would complain
        raise
    if "--" in words and hasattr(chosen, "words"):  # argparse takes a second one away, which is the program's
        chosen.words = words[words.index("--") + 1 :]
    status: int = chosen.run(chosen)
    return status


def _have_streams() -> None:
    """None is closed (`>&-`), or what is opened next would be taken for it; none fails for a character."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            if not os.path.exists(f"/proc/self/fd/{descriptor}"):
                os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # no StringIO
        reconfigure(errors="backslashreplace")


def _end_output() -> None:
    """What can't be written goes nowhere, or the exit would complain of it again."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _failed(problem: Exception) -> int:
    _complain(str(problem) or type(problem).__name__)
    for note in getattr(problem, "__notes__", ()):
        _complain(note)
    return FAILED


def _complain(text: str) -> None:
    print(f"netkit: {_printable(text)}", file=sys.stderr)


def _printable(text: str) -> str:
    """What somebody called a namespace, a file or a link drives no terminal."""
    from netkit._display.texts import printable

    return "\n".join([printable(line) for line in text.split("\n")])


def _demo(chosen: Namespace) -> int:
    from netkit._demo.play import run

    return run(chosen.backend, chosen.json)


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
            print(_printable(_told(each)))
        if not found:
            print("nothing is left")
    return FAILED if any(each.outcome == "failed" for each in found) else OK


def _told(each: Leftover) -> str:
    owner = f" of {each.owner}" if each.owner else ""
    reason = f": {each.reason}" if each.reason else ""
    return f"{each.outcome}: {each.what}{owner}{reason}"


def _show(chosen: Namespace) -> int:
    from netkit._commands.show import show

    show(chosen.names, chosen.json, chosen.html)
    return OK


def _up(chosen: Namespace) -> int:
    from netkit._commands.lasting import up

    record = up(chosen.file, chosen.name)
    if chosen.json:
        _print_json({"name": record.name, "namespaces": list(record.namespaces)})
    else:
        print(_printable(f"{record.name} is up: namespaces {', '.join(record.namespaces)}"))
    return OK


def _down(chosen: Namespace) -> int:
    from netkit._commands.lasting import down

    record, left = down(chosen.what)
    if chosen.json:
        _print_json({"name": record.name, "namespaces": list(record.namespaces), "left alone": left})
        return OK
    for each in left:
        print(_printable(each))
    print(_printable(f"{record.name} is down"))
    return OK


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value))


def _exec(chosen: Namespace) -> int:
    from netkit._commands.enter import enter

    return enter(chosen.namespace, chosen.words)


def _unshare(chosen: Namespace) -> int:
    from netkit._commands.enter import runnable, take_place
    from netkit._system.user_namespace import isolate

    words: list[str] = chosen.words
    path = runnable(words[0])
    if isinstance(path, int):
        return path
    isolate()
    return take_place(path, words)
