"""A namespace's way to the machine's outside network.

outside.py    Outside: the resource; what is asked for, and what the namespace is given
view.py       what has to be known of the outside first
left.py       one that was detached, and how it is found by who adopts it
ports.py      whether its ports can be published, and who holds those that cannot
redirects.py  rules inside, for published UDP ports that an old pasta would lose

The programs and the process that keeps one: _system/outside_programs.py, keeper.py, keeper_server.py.
"""

from __future__ import annotations

from netkit._outside.outside import Outside

__all__ = ["Outside"]
