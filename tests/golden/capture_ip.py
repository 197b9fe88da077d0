"""Write ip_messages.json anew: what this machine's iproute2 sends for each command.

    python -m tests.golden.capture_ip

It needs root, strace(1) and iproute2, and works in network namespaces of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from sys import byteorder

from netkit._netlink.wire import HEADER, HEADER_SIZE
from tests.golden.ip_commands import COMMANDS

FILE = Path(__file__).with_name("ip_messages.json")

SET_UP = """
ip link add name eth0 index 2 type veth peer index 3 name eth1
ip link add name br0 index 4 type bridge
ip link set dev eth0 up
ip link set dev eth1 up
ip address add 10.0.0.3/24 dev eth0
ip address add fd00::3/64 dev eth0 nodad
"""
AS_A_PORT = "ip link set dev eth0 master br0\n"


def main() -> None:
    """Run every command and keep the message that it is about."""
    version = subprocess.run(["ip", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    sent = {command: _sent(command, request.kind).hex() for command, request in COMMANDS.items()}
    FILE.write_text(json.dumps({"captured from": version, "messages": sent}, indent=1) + "\n")


def _sent(command: str, kind: int) -> bytes:
    port = AS_A_PORT if "bridge_slave" in command or "master static" in command else ""
    script = f"{SET_UP}{port}strace -qq -e trace=sendmsg,sendto -e signal=none -e write=3,4,5 {command} || :"
    done = subprocess.run(["unshare", "-n", "sh", "-ec", script], capture_output=True, text=True, check=True)
    found = [message for message in _dumped(done.stderr) if HEADER.unpack_from(message)[1] == kind]
    if not found:
        raise SystemExit(f"{command}: no message of type {kind}\n{done.stderr}")
    return found[-1]


def _dumped(output: str) -> list[bytes]:
    """The messages in strace's hexadecimal dumps: ` | 00010  00 00 ...  ascii |`."""
    found: list[bytes] = []
    for line in output.splitlines():
        if re.match(r" \| [0-9a-f]{5}  ", line):
            data = bytes.fromhex(line[10:59])
            if line[3:8] == "00000":
                found.append(data)
            else:
                found[-1] += data
    # bridge(8) sends more than its message; what is behind that is none.
    return [data[: int.from_bytes(data[:4], byteorder)] for data in found if len(data) >= HEADER_SIZE]


if __name__ == "__main__":
    main()
