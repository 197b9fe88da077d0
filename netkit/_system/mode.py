"""With root or without: how this process makes namespaces, and why so."""

from __future__ import annotations

import os

from netkit._system.privilege import effective_capabilities
from netkit.errors import SpecError

VARIABLE = "NETKIT_ROOTLESS"
_NEEDED = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN")
_decided: bool | None = None


def decide() -> tuple[bool, str]:
    """Whether a broker makes the namespaces, and the reason in words."""
    forced = os.environ.get(VARIABLE, "")
    if forced not in ("", "0", "1"):
        raise SpecError(f"{VARIABLE}={forced!r}: give 1 (without root) or 0 (with root)")
    if forced:
        return forced == "1", f"{VARIABLE}={forced}"
    held = effective_capabilities()
    missing = [name for name in _NEEDED if name not in held]
    if missing:
        return True, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    return False, f"{' and '.join(_NEEDED)} are there"


def is_rootless() -> bool:
    """What was decided when this process first asked."""
    global _decided
    if _decided is None:
        _decided = decide()[0]
    return _decided


def decide_again() -> None:
    """This process has become another kind: forget what was decided."""
    global _decided
    _decided = None
