"""What ``@pytest.mark.netkit(requires=[...])`` names: whether this machine has it, and what to do if not."""

from __future__ import annotations

from difflib import get_close_matches

import pytest

from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netkit._diagnostics.finding import Finding

KEYWORDS = ("requires", "isolate")
# Shorter words for what `netkit doctor` calls by more.
_ALIASES = {
    "nft": "nftables",
    "tap": "tun/tap",
    "tun": "tun/tap",
    "vlan_filtering": "bridge vlan_filtering",
}
_answers: dict[str, str | None] = {}


def check(item: pytest.Item) -> None:
    """Skip a test, or fail it with ``--netkit-strict``, if something that its markers name is missing."""
    for mark in item.iter_markers("netkit"):
        _check_form(item, mark)
        for requirement in _listed(mark.kwargs.get("requires", ())):
            reason = missing(requirement)
            if reason is not None:
                refuse(reason, bool(item.config.getoption("--netkit-strict")))


def refuse(reason: str, strict: bool) -> None:
    """End the test: it can't run here."""
    if strict:
        pytest.fail(f"{reason} (a failure by --netkit-strict)", pytrace=False)
    raise pytest.skip.Exception(reason, _use_item_location=True)


def missing(requirement: str) -> str | None:
    """Why a requirement is not met, with the remedy; None if it is. Tried once per process.

    An unknown one fails the test.
    """
    if requirement not in _answers:
        _answers[requirement] = _find(requirement)()
    return _answers[requirement]


def _check_form(item: pytest.Item, mark: pytest.Mark) -> None:
    unknown = sorted(set(mark.kwargs) - set(KEYWORDS))
    if mark.args or unknown:
        what = f"the argument {mark.args[0]!r}" if mark.args else f"the keyword {unknown[0]!r}"
        _wrong(f"@pytest.mark.netkit of {item.nodeid} has {what}: it takes requires=[...] and isolate=True")
    if not isinstance(mark.kwargs.get("isolate", False), bool):
        _wrong(f"@pytest.mark.netkit of {item.nodeid}: isolate is True or False")


def _listed(requires: object) -> Iterable[str]:
    if isinstance(requires, str):
        return (requires,)
    if isinstance(requires, list | tuple):
        listed: list[object] = [*requires]  # pyright: ignore[reportUnknownArgumentType]
        names = [each for each in listed if isinstance(each, str)]
        if len(names) == len(listed):
            return names
    return _wrong(f"requires={requires!r}: give a list of texts, such as ['vxlan', 'root']")


def _wrong(text: str) -> list[str]:
    pytest.fail(text, pytrace=False)


# -- by name --------------------------------------------------------------------------


def _find(requirement: str) -> Callable[[], str | None]:
    if requirement.startswith("command:"):
        return lambda: _command(requirement.removeprefix("command:"))
    others = {"root": _root, "rootless": _rootless, "nftables": _nftables, "iptables": _iptables}
    name = _ALIASES.get(requirement.lower(), requirement.lower())
    if name in others:
        return others[name]
    from netkit._diagnostics.features import FEATURES

    features = {feature.name.lower(): feature for feature in FEATURES}
    if name not in features:
        known = sorted({*others, *features, *_ALIASES, "command:NAME"})
        close = get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        _wrong(f"@pytest.mark.netkit(requires={[requirement]!r}) is unknown: {hint}")
    return lambda: _feature(name)


def _feature(name: str) -> str | None:
    from netkit._diagnostics.features import FEATURES
    from netkit._diagnostics.kernel import Kernel
    from netkit._namespace import Namespace

    feature = next(each for each in FEATURES if each.name.lower() == name)
    try:
        with Namespace() as netns:
            return _told(feature.find(netns, Kernel()))
    except (NetkitError, OSError) as problem:
        return f"{feature.name}: no namespace to try it in: {problem}"


def _told(finding: Finding) -> str | None:
    if finding.state == "yes":
        return None
    called = f" ({finding.called})" if finding.called else ""
    return f"{finding.name} is missing here: {finding.detail}{called}"


def _backend(name: str) -> str | None:
    from netkit._diagnostics.features import find_backends

    try:
        return next(_told(finding) for finding in find_backends() if finding.name == name)
    except (NetkitError, OSError) as problem:
        return f"{name}: no namespace to try it in: {problem}"


def _nftables() -> str | None:
    return _backend("nftables")


def _iptables() -> str | None:
    return _backend("iptables")


def _root() -> str | None:
    from netkit._system import mode

    rootless, reason = mode.decide()
    if not rootless:
        return None
    return f"root is missing here: {reason}; run pytest as root, or `netkit unshare -- pytest`"


def _rootless() -> str | None:
    from netkit._system import mode

    rootless, reason = mode.decide()
    return None if rootless else f"this is not without root: {reason}; run pytest as an ordinary user"


def _command(name: str) -> str | None:
    from netkit._diagnostics.software import which

    return None if which(name) else f"the command {name!r} is missing here: install it"
