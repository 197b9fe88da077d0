"""Our messages are those that ip(8) and bridge(8) send for the same purpose: type, flags, header, attributes.

Attributes are compared by name and value, whatever their order. Where ours differ on purpose,
`without_differences` says why.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from netkit._netlink.link_policy import BRIDGE_PORT_POLICY
from netkit._netlink.policy import decode
from netkit._netlink.wire import HEADER, HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Request
from tests.golden.ip_commands import COMMANDS

MESSAGES: dict[str, str] = json.loads(Path(__file__).with_name("ip_messages.json").read_text())["messages"]
NEWADDR, NEWROUTE, DELROUTE, NEWNEIGH, DELNEIGH, DELRULE = 20, 24, 25, 28, 29, 33
AF_BRIDGE = 7
# Ours say who made an object: "netkit". This ip does not.
MAKERS = ("IFA_PROTO", "NDA_PROTOCOL", "FRA_PROTOCOL")


def names_of(request: Request, body: bytes) -> dict[str, object]:
    assert request.policy is not None
    return decode(request.policy, body, request.header_size, len(body))


def without_differences(
    kind: int, header: bytes, found: dict[str, object]
) -> tuple[bytes, dict[str, object]]:
    """What is left to compare when the differences meant are taken out of either side."""
    for name in MAKERS:
        found.pop(name, None)
    if kind == NEWADDR:
        # Ours send the flags as an attribute always, ip only what does not fit the header.
        found["flags"] = flags = found.pop("IFA_FLAGS", header[2])
        assert isinstance(flags, int)
        header = header[:2] + bytes([flags & 0xFF]) + header[3:]
    if kind in (NEWROUTE, DELROUTE) and header[1] == 0:
        found.pop("RTA_DST", None)  # ip says "::/0" for the default route of IPv6; nothing means the same
    if kind == DELRULE:
        header = header[:7] + b"\0" + header[8:]  # ours say the action, so that no rule with another goes
    if kind == NEWNEIGH and header[0] == AF_BRIDGE:
        # bridge adds NUD_NOARP to permanent entries and NUD_REACHABLE to static ones, which changes nothing.
        state = header[8] & ~0x40 if header[8] & 0x80 else header[8] & ~0x02
        header = header[:8] + bytes([state]) + header[9:]
    if kind == DELNEIGH:
        header = header[:8] + b"\0" + header[9:]  # a state, which the kernel does not look at
    info = found.get("IFLA_LINKINFO")
    if isinstance(info, dict) and info.get("IFLA_INFO_KIND") == "bridge_slave":
        data = info["IFLA_INFO_SLAVE_DATA"]  # ip calls it a kind of link, which the kernel has not
        named = decode(BRIDGE_PORT_POLICY, data, 0, len(data))
        found["IFLA_LINKINFO"] = {"IFLA_INFO_SLAVE_KIND": "bridge", "IFLA_INFO_SLAVE_DATA": named}
    return header, found


def test_each_command_was_captured() -> None:
    assert MESSAGES.keys() == COMMANDS.keys(), "run tests/golden/capture_ip.py"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_message(command: str) -> None:
    request, theirs = COMMANDS[command], bytes.fromhex(MESSAGES[command])
    length, kind, flags, _, _ = HEADER.unpack_from(theirs)
    assert (length, kind) == (len(theirs), request.kind)
    wanted = request.flags | NLM_F_REQUEST | (NLM_F_DUMP if " show " in command else 0)
    assert flags & ~NLM_F_ACK == wanted & ~NLM_F_ACK
    assert bool(flags & NLM_F_ACK) == bool(wanted & NLM_F_ACK)

    size = request.header_size
    body = theirs[HEADER_SIZE:]
    their_header, their_attributes = without_differences(kind, body[:size], names_of(request, body))
    our_header, our_attributes = without_differences(
        kind, request.body[:size], names_of(request, request.body)
    )
    assert our_attributes == their_attributes
    assert our_header.hex() == their_header.hex()


def test_the_comparison_sees_a_difference() -> None:
    """The tables would hide an attribute they do not know; none of ip's is unknown to them."""
    for command, text in MESSAGES.items():
        request, body = COMMANDS[command], bytes.fromhex(text)[HEADER_SIZE:]
        assert request.policy is not None
        start, kinds = request.header_size, set()
        while start < len(body):
            length, kind = struct.unpack_from("=HH", body, start)
            kinds.add(kind & 0x3FFF)
            start += (length + 3) & ~3
        assert kinds <= request.policy.keys(), command
