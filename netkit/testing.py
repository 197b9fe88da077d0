"""For tests: the types of the pytest fixtures, `wait_for`, and a simulated kernel.

The fixtures come with the package: ``def test_proxy(netns): ...`` needs no import. Their types are here:
`NamespaceFactory`, `LanFactory` and `Lan`, `Routed` and `WanFactory`, `TopologyFactory`.

`FakeKernel` answers rtnetlink messages byte by byte from an in-memory model of namespaces, links,
addresses, routes, rules and neighbours. It has no packets, processes, sysctls or NAT. What it is
good for: testing programs that build networks with netkit, above all how they behave when the
kernel refuses, a Ctrl-C comes, or answers are lost - at any request one likes.

    from netkit import Namespace, VethPair
    from netkit.testing import FakeKernel

    def test_nothing_is_left_when_the_kernel_runs_out_of_memory() -> None:
        with FakeKernel() as kernel:
            red, blue = kernel.namespace("red"), kernel.namespace("blue")
            before = kernel.state()
            kernel.refuse(2, errno.ENOMEM)              # the second request from now
            with pytest.raises(KernelError):
                VethPair(red, blue, name="a", peer_name="b").create()
            assert kernel.state() == before

It needs no capability and touches nothing of the machine: a simulated namespace is a pipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from netkit import _opener, _runtime
from netkit._fixtures.makers import Lan, LanFactory, NamespaceFactory, Routed, TopologyFactory, WanFactory
from netkit._lifecycle import ROOT
from netkit._testing.faults import FaultPlan
from netkit._testing.messages import TYPES, Message
from netkit._testing.opener import FakeOpener
from netkit._waiting import wait_for, wait_for_async

if TYPE_CHECKING:
    from typing import Self

    from netkit._lifecycle import Owned
    from netkit._namespace import Namespace
    from netkit._opener import Opener
    from netkit._testing.namespace import FakeNetns

__all__ = [
    "FakeKernel",
    "Lan",
    "LanFactory",
    "NamespaceFactory",
    "Routed",
    "SentRequest",
    "TopologyFactory",
    "WanFactory",
    "wait_for",
    "wait_for_async",
]


@dataclass(frozen=True)
class SentRequest:
    """One message that was sent: which `send` it was part of, its type, and to which namespace."""

    send: int
    type: str
    flags: int
    netns: str
    body: bytes


class FakeKernel(FaultPlan):
    """A simulated kernel: in its block, netkit's objects work against a model in memory.

    Within the block, ``Namespace()`` makes simulated namespaces, and all that is built in them is
    simulated too; what netkit still owns at the end of the block is forgotten. Errors are the
    kernel's: errno, extended ACK and all.

    Faults are planned with `refuse`, `interrupt`, `lose`, `disturb`, `truncate`, `inject`, `stale`
    and `before`, each for the n-th request from now, and happen once.

    Not simulated: traffic, processes, sysctls, NAT, IPv6 link-local addresses, duplicate address
    detection; link kinds other than veth, bridge and dummy.

    Examples:
        >>> from netkit import Bridge
        >>> with FakeKernel() as kernel:
        ...     host = kernel.namespace("host")
        ...     with Bridge(host, "br0", address="10.0.0.1/24") as bridge:
        ...         print([link.name for link in host.links])
        ...     print([link.name for link in host.links])
        ['lo', 'br0']
        ['lo']
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[SentRequest] = []
        self._opener = FakeOpener(self._faults, self._note)
        self._real: Opener | None = None
        self._owned_before: set[Owned] = set()
        self._sends = 0

    # -- the block ------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._owned_before = set(ROOT._held)  # pyright: ignore[reportPrivateUsage]
        self._real = _opener.opener
        _opener.opener = self._opener
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._real is not None
        _opener.opener = self._real
        for owned in set(ROOT._held) - self._owned_before:  # pyright: ignore[reportPrivateUsage]
            owned._let_go()  # pyright: ignore[reportPrivateUsage]
        for identity in list(self._opener.namespaces):
            runtime = _runtime.runtime_at(identity)
            if runtime is not None:
                runtime.close()
        self._opener.close()

    # -- namespaces -------------------------------------------------------------------

    def namespace(self, label: str = "host", *, up: bool = True) -> Namespace:
        """A namespace that was there before, borrowed: the "host" of a test.

        With ``up``, its `lo` is up. It ends when it is closed.
        """
        from netkit._namespace import Namespace

        descriptor = self._opener.make(label)
        netns = Namespace._borrow(descriptor, f"namespace '{label}'")  # pyright: ignore[reportPrivateUsage]
        if up:
            fake = self._fake(netns)
            fake.links.by_index[1].up = True
            fake.link_changed(fake.links.by_index[1])
        return netns

    def state(self) -> dict[str, list[str]]:
        """All that exists, as sorted lines per namespace: compare before and after.

        Indexes and counters are left out.
        """
        self._opener.sweep()
        described = {netns.label: netns.describe() for netns in self._opener.namespaces.values()}
        return {**described, "names": sorted(self._opener.names)}

    def overrun(self, netns: Namespace) -> None:
        """Tell all who listen to a namespace's events that some were lost (ENOBUFS)."""
        for transport in self._fake(netns).transports:
            if transport.groups:
                transport.overrun()

    def _fake(self, netns: Namespace) -> FakeNetns:
        fake = self._opener.at(netns.fileno())
        assert fake is not None, f"{netns!r} is no namespace of this FakeKernel"
        return fake

    # -- what was asked -----------------------------------------------------------------

    @property
    def sends(self) -> int:
        """How many times something was sent: a batch of messages is one send."""
        return self._sends

    def sent(self, *types: str) -> list[SentRequest]:
        """The requests so far of these types, such as ``"RTM_NEWLINK"``; all without a type."""
        return [request for request in self.requests if not types or request.type in types]

    def forget_requests(self) -> None:
        """Empty the log of requests."""
        self.requests.clear()

    def _note(self, first: bool, netns: FakeNetns, message: Message) -> None:
        self._sends += first
        name = TYPES.get(message.kind, str(message.kind))
        self.requests.append(SentRequest(self._sends, name, message.flags, netns.label, message.body))

    def __repr__(self) -> str:
        return f"<FakeKernel with {len(self._opener.namespaces)} namespaces, {len(self.requests)} requests>"
