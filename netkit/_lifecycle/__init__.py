"""Who owns what, and how it is undone: the only undo logic in netkit.

leaving.py   the end of a `with`, which no signal keeps from beginning
owned.py     Owned and Holder: who belongs to whom
resource.py  Resource: create / delete / detach / adopt / exists, and `with`
steps.py     what is made by messages, and how those of many share a send
together.py  several resources at once: all of them, or none
block.py     Block: what undoes at the end of a `with` what was added through it
scope.py     Scope: a block of resources, undone in reverse; the undo at interpreter exit
groups.py    links that are deleted as a group
reclaim.py   undoing what a dead process has left, by its journal; claims.py reads the journals
protocol_mark.py  whether an address or neighbour is netkit's
guard_program.py  the guard, which does that as soon as its owner is dead
teardown.py  Undo (of one half-made resource) and Teardown (of many)
"""

from __future__ import annotations

from netkit._lifecycle.block import Block
from netkit._lifecycle.leaving import Leaves
from netkit._lifecycle.owned import LINKS, NAMESPACES, NAT, ROOT, ROUTES, Holder, Owned, owner_of
from netkit._lifecycle.resource import PHRASE, Resource
from netkit._lifecycle.scope import Scope, end_guard, undo_all
from netkit._lifecycle.steps import raise_first, take_steps
from netkit._lifecycle.teardown import Teardown, Undo, leave_block, undo

__all__ = [
    "LINKS",
    "NAMESPACES",
    "NAT",
    "PHRASE",
    "ROOT",
    "ROUTES",
    "Block",
    "Holder",
    "Leaves",
    "Owned",
    "Resource",
    "Scope",
    "Teardown",
    "Undo",
    "end_guard",
    "leave_block",
    "owner_of",
    "raise_first",
    "take_steps",
    "undo",
    "undo_all",
]
