"""What the kernel changes along with a sysctl, and setting one with a look at all of that."""

from __future__ import annotations

from netkit._system.sysctl_files import elsewhere, names_in, read, read_each, replace
from netkit.errors import NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # A path, the text it is set to, and what a refusal calls it.
    Wanted = tuple[str, str, str]
    # What was before, and what is now other than before, and the value itself.
    Change = tuple[dict[str, str], dict[str, str]]
    # As many as were set, in order; and why it was not all of them.
    Outcome = tuple[list[Change], Exception | None]


def set_values(wanted: Sequence[Wanted]) -> Outcome:
    """Set each if it differs, until one is refused: one request where the broker does it."""
    if there := elsewhere():
        return there.set_values(wanted)
    done: list[Change] = []
    try:
        for path, text, key in wanted:
            done.append(_set_value(path, text, key))
    except (NetkitError, OSError) as problem:
        return done, problem
    return done, None


def _set_value(path: str, text: str, key: str) -> Change:
    others = read_each(_reset_by(path))
    was, now = replace(path, text, key)
    before, after = {path: was, **others}, {path: now}
    if was.split() != text.split():
        after.update({each: _made(each, now) for each in others if others[each] != _made(each, now)})
    return before, after


def values_of(path: str) -> dict[str, str]:
    """The value, and those that the kernel resets when it is written."""
    return {path: read(path), **read_each(_reset_by(path))}


_REDIRECTS = "net/ipv4/conf/all/accept_redirects"  # a router accepts none
# What sets every device's value and the default: inet_forward_change in net/ipv4/devinet.c; in
# net/ipv6/addrconf.c addrconf_fixup_forwarding, addrconf_disable_ipv6, addrconf_fixup_linkdown,
# addrconf_sysctl_addr_gen_mode and addrconf_sysctl_force_forwarding (which leaves the default).
_RESETTING = {
    "net/ipv4/conf/all/forwarding",
    "net/ipv6/conf/all/addr_gen_mode",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/force_forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/ignore_routes_with_linkdown",
}


def reset_values(path: str, text: str) -> dict[str, str]:
    """What the kernel makes of other keys when this one is set to ``text``.

    Wrong for a key that it leaves alone, which does no harm: that value then counts as a stranger's.
    """
    return {each: _made(each, text) for each in _reset_by(path)}


def _reset_by(path: str) -> list[str]:
    start, _, rest = path.partition("/conf/")
    group, _, name = rest.partition("/")
    # devinet_copy_dflt_conf: devices that were never set follow the default.
    if path not in _RESETTING and not (start == "net/ipv4" and group == "default"):
        return []
    devices = [device for device in names_in(f"{start}/conf") if device not in (group, "all")]
    along = [_REDIRECTS] if path == "net/ipv4/conf/all/forwarding" else []
    return [f"{start}/conf/{device}/{name}" for device in devices] + along


def _made(key: str, text: str) -> str:
    if key == _REDIRECTS:
        return "0" if text == "1" else "1"
    return text
