"""Docstrings say what a user of `ip` and of Python needs: twin, errors, needs, source, an example.

That the examples run, and print what they show, is tests/kernel/test_docstrings.py's.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import netkit

# What people hold in their hands: netkit's own names, and what those lead to.
OBJECTS = """
    Namespace Link VethPair Bridge RouteTable NatRule PortMapping Outside _links.Links _address.Addresses
    _altnames.AlternativeNames _neighbour.Neighbours _rule.Rules _sysctl.Sysctls _fdb.ForwardingDatabase
    _conntrack.Connections _nat.view.NatRules
""".split()
# What has no equal in `ip` or `nft` says so.
OTHERS = "Scope Topology Network Capture Packet Snapshot Picture _nat.watch.NatWatch".split()
VALUES = """
    Route Rule Neighbour NextHop FdbEntry NatSpec BridgeInfo PortInfo LinkInfo LinkStats PingResult
    _conntrack.Connection _spec.nat_entry.NatEntry
""".split()


def found(name: str) -> type:
    module, _, last = name.rpartition(".")
    cls: type = getattr(import_module(f"netkit.{module}") if module else netkit, last)
    return cls


def verbs(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods, as netkit's own classes define them."""
    for base in cls.__mro__:
        if base.__module__.startswith("netkit"):
            for name, value in vars(base).items():
                function = getattr(value, "__func__", value)
                if not name.startswith("_") and inspect.isfunction(function):
                    yield f"{base.__name__}.{name}", function


VERBS = {name: function for each in OBJECTS for name, function in verbs(found(each))}
MORE = {name: function for each in OTHERS for name, function in verbs(found(each))}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_says_its_twin_its_source_what_it_needs_and_how_it_is_used(name: str) -> None:
    text = inspect.getdoc(found(name)) or ""
    assert [word for word in ("Twin", "Source", ">>>") if word not in text] == []
    assert "Needs" in text or "needs" in text


@pytest.mark.parametrize("name", VALUES)
def test_a_value_says_its_twin_and_its_source(name: str) -> None:
    text = inspect.getdoc(found(name)) or ""
    assert [word for word in ("Twin", "Source", "rozen") if word not in text and name != "NextHop"] == []


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_its_twin_and_what_it_raises(name: str) -> None:
    text = inspect.getdoc(VERBS[name]) or ""
    assert "Twin" in text
    assert "Raises" in text or "raises" in text


@pytest.mark.parametrize("name", MORE)
def test_other_verbs_say_their_twin(name: str) -> None:
    assert "Twin" in (inspect.getdoc(MORE[name]) or "")


def test_there_are_verbs() -> None:
    assert len(VERBS) > 60
