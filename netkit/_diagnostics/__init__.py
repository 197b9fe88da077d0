"""What this machine can do, found by trying: the substance of `netkit doctor`.

    finding.py      one thing: whether it is there, what it is called, what is lost without it
    privileges.py   user, capabilities, user namespaces and the sysctls that rule them
    features.py     what the kernel is asked for, each in a throw-away namespace
    kinds.py        link kinds among them
    kernel.py       its configuration and modules, as files tell them
    software.py     libraries and tools
    child.py        the same tries in a user namespace (`netkit unshare`'s), for who has no capabilities
    report.py       as text and as JSON

Nothing here changes the machine's own network.
"""

from __future__ import annotations

from netkit._diagnostics.examination import Examination, examine

__all__ = ["Examination", "examine"]
