"""What the kernel changes along with a sysctl, and setting one with a look at all of that."""

from __future__ import annotations

from netkit._system.sysctl_files import elsewhere, names_in, read, read_each, write
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
    before = values_of(path)
    if not write(path, text, key, before[path]):
        return before, {path: before[path]}
    after = {path: read(path)}
    for each, value in reset_values(path, after[path]).items():
        if each in before and before[each] != value:
            after[each] = value
    return before, after


def values_of(path: str) -> dict[str, str]:
    """The value, and those that the kernel resets when it is written."""
    values = read_each([path, *reset_values(path, "")])
    return values if path in values else {path: read(path)}  # which says what is wrong with it


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
    start, _, rest = path.partition("/conf/")
    group, _, name = rest.partition("/")
    # devinet_copy_dflt_conf: devices that were never set follow the default.
    if path not in _RESETTING and not (start == "net/ipv4" and group == "default"):
        return {}
    devices = names_in(f"{start}/conf")
    values = {f"{start}/conf/{device}/{name}": text for device in devices if device not in (group, "all")}
    if path == "net/ipv4/conf/all/forwarding":
        values["net/ipv4/conf/all/accept_redirects"] = "0" if text == "1" else "1"
    return values
