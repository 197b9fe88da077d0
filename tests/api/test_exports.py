"""The public surface is pinned: adding or dropping a name is a decision, made here and in CHANGELOG.md."""

from __future__ import annotations

import ast
import inspect
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import netkit

EXPORTS = """
    AccessError Address BackendError Bridge BridgeInfo BusyError Capture CommandError ExistsError FdbEntry
    KernelError Leftover Link LinkInfo LinkStats Namespace NatRule NatSpec Neighbour NetkitError Network
    NextHop NotFoundError Outside Packet Picture PingResult PortInfo PortMapping Process ProtocolError
    PublishedPort Resource Route RouteTable Rule Scope Snapshot SpecError StateError TeardownError
    Topology UnsupportedError VethPair WaitTimeout errors gc shutdown wait_for wait_for_async
""".split()

# Typed by ParamSpec or like subprocess's own: the only signatures with a star.
STARRED = {"Namespace.call": "fn, *args, **kwargs", "Namespace.call_async": "fn, *args, **kwargs"}

PARENTS = {
    "SpecError": ValueError,
    "StateError": RuntimeError,
    "KernelError": OSError,
    "ExistsError": FileExistsError,
    "NotFoundError": KeyError,
    "AccessError": PermissionError,
    "CommandError": subprocess.CalledProcessError,
    "WaitTimeout": TimeoutError,
    "TeardownError": ExceptionGroup,
}


def test_exports_are_what_they_were() -> None:
    assert sorted(netkit.__all__) == sorted(EXPORTS)


def test_dir_shows_the_exports() -> None:
    assert set(EXPORTS) | {"__version__"} <= set(dir(netkit))


def test_the_program_that_type_checkers_see_has_every_name() -> None:
    """`make lint` checks typed_program.py with mypy --strict and pyright."""
    tree = ast.parse((Path(__file__).parent / "typed_program.py").read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used >= set(EXPORTS), sorted(set(EXPORTS) - used)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Namespaces"):
        netkit.Namespaces  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize(("name", "parent"), PARENTS.items())
def test_errors_are_the_builtin_kind_too(name: str, parent: type[Exception]) -> None:
    error = getattr(netkit, name)
    assert issubclass(error, parent)
    assert issubclass(error, netkit.NetkitError)


def test_kernel_errors_are_kernel_errors() -> None:
    for name in ("ExistsError", "NotFoundError", "BusyError", "AccessError", "UnsupportedError"):
        assert issubclass(getattr(netkit, name), netkit.KernelError)


def _functions() -> Iterator[tuple[str, Any]]:
    """Every public function and method, with its dotted name; properties as their getter."""
    for name in EXPORTS:
        value = getattr(netkit, name, None)  # a missing one fails test_exports_are_what_they_were
        if inspect.isclass(value):
            yield from _methods(name, value)
        elif callable(value):
            yield name, value


def _methods(name: str, cls: type) -> Iterator[tuple[str, Any]]:
    for base in cls.__mro__:
        if base.__module__.startswith("netkit"):
            for attribute, value in vars(base).items():
                function = _unwrapped(value)
                if inspect.isfunction(function) and (
                    attribute == "__init__" or not attribute.startswith("_")
                ):
                    yield f"{name}.{attribute}", function


def _unwrapped(value: Any) -> Any:
    if isinstance(value, property):
        return value.fget
    return getattr(value, "__func__", value)


FUNCTIONS = dict(_functions())


@pytest.mark.parametrize("name", EXPORTS)
def test_public_names_say_what_they_are(name: str) -> None:
    assert getattr(netkit, name).__doc__


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not name.endswith("__init__")])
def test_public_methods_say_what_they_do(name: str) -> None:
    assert FUNCTIONS[name].__doc__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_signatures_are_typed_and_closed(name: str) -> None:
    signature = inspect.signature(FUNCTIONS[name])
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    untyped = [each.name for each in parameters if each.annotation is each.empty]
    assert not untyped
    assert signature.return_annotation is not signature.empty
    if name not in STARRED:
        assert not [each.name for each in parameters if each.kind is each.VAR_KEYWORD]


def test_an_unknown_keyword_is_a_type_error() -> None:
    for make in (netkit.Namespace, netkit.VethPair, netkit.Bridge, netkit.RouteTable, netkit.NatRule.dnat):
        with pytest.raises(TypeError):
            make(colour="red")  # type: ignore[call-overload]
