"""A module imports only from its own layer and those below; files and functions keep their size."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "netkit"

# docs/design.md, "Layers". The first part of a module's name below netkit; its submodules follow it.
LAYERS = {
    0: "errors _command_error _forks _progress _spec _shown",
    1: "_netlink _system _waiting",
    2: "_opener _runtime _rootless _readiness _lifecycle",
    3: "_additions _leftovers _dying _marks _link _links _adopted_link _altnames _reading _address _end "
    "_existing_pair _veth _sockets _bridge _bridge_options _bridge_reading _gateway _ports _fdb _route "
    "_route_requests _route_changes _route_owners _rule _neighbour _nat _conntrack _publishing _sysctl "
    "_inside _inside_async _namespace _registration _known _outside _shutdown _connecting _capture",
    4: "_gc _topology _snapshot _snapshot_values _snapshot_answers _snapshot_nat _display _diagnostics",
    5: "__init__",
    6: "_cli _commands _demo __main__ testing _testing lowlevel _pytest_plugin _fixtures",
}
LEVEL = {name: level for level, names in LAYERS.items() for name in names.split()}

# Verbs that are made in a layer above, imported when they are called.
UPWARD = {
    ("_namespace", "_snapshot"),
    ("_shown", "_display"),
}
# The only modules that may load these distributions.
OWNERS = {"pyroute2": ("_netlink/longtail.py",), "iptc": ("_nat/iptables",)}
MAX_FILE, MAX_FUNCTION = 500, 60

FILES = sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def part(path: Path) -> str:
    """The name in LEVEL that a file belongs to: `_netlink` for _netlink/wire.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The absolute names that a file imports at run time, with their lines; typing-only ones do not count."""
    yield from _imports(ast.parse(path.read_text()), path)


def _imports(node: ast.AST, path: Path) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    if isinstance(node, ast.Import):
        yield from ((alias.name, node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, path)
        yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, path)


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parents = ["netkit", *path.relative_to(PACKAGE).parts[:-1]]
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def target(name: str) -> str | None:
    """The name in LEVEL for `netkit._netlink.wire.Header`; None if it is not of the package."""
    words = name.split(".")
    if words[0] != "netkit" or len(words) == 1:
        return None
    return words[1] if words[1] in LEVEL else "__init__"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_module_has_a_layer(path: Path) -> None:
    assert part(path) in LEVEL, "add it to LAYERS and to docs/design.md"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_down(path: Path) -> None:
    own = part(path)
    upward = [
        f"line {line}: {name}"
        for name, line in imports(path)
        if (other := target(name)) and LEVEL[other] > LEVEL[own] and (own, other) not in UPWARD
    ]
    assert not upward


@pytest.mark.parametrize(("own", "other"), [("_netlink", "_system"), ("_system", "_netlink")])
def test_the_two_of_layer_one_do_not_know_each_other(own: str, other: str) -> None:
    found = [
        f"{relative(path)}:{line} {name}"
        for path in FILES
        if part(path) == own
        for name, line in imports(path)
        if target(name) == other
    ]
    assert not found


@pytest.mark.parametrize("distribution", OWNERS)
def test_one_place_imports_the_library(distribution: str) -> None:
    found = {
        relative(path) for path in FILES for name, _ in imports(path) if name.split(".")[0] == distribution
    }
    assert found
    assert all(name.startswith(OWNERS[distribution]) for name in found), found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_sizes_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE
    long = [
        f"{node.name}: {_body_lines(node)} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _body_lines(node) > MAX_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "scripts"])
def test_other_files_stay_readable_too(folder: str) -> None:
    lines = {path: path.read_text().count("\n") for path in (PACKAGE.parent / folder).rglob("*.py")}
    assert [
        f"{path.relative_to(PACKAGE.parent)}: {count}" for path, count in lines.items() if count > MAX_FILE
    ] == []


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines below the signature (which may mirror subprocess's twenty keywords) and the docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or first.lineno) - first.lineno + 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pyroute2.netlink", ["pyroute2.netlink"]),
        ("from netkit._spec import names", ["netkit._spec.names"]),
        ("from . import wire", ["netkit._netlink.wire"]),
        ("from .._spec.names import check", ["netkit._spec.names.check"]),
        ("def f():\n    import iptc", ["iptc"]),
        ("if TYPE_CHECKING:\n    import iptc", []),
    ],
)
def test_the_walk_sees_each_form_of_import(source: str, expected: list[str]) -> None:
    tree = ast.parse(source)
    assert [name for name, _ in _imports(tree, PACKAGE / "_netlink" / "link.py")] == expected
