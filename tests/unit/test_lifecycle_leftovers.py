"""Which exception comes out of a block, and what it says of what could not be removed."""

from __future__ import annotations

import errno

import pytest

from netkit import Bridge, Namespace, RouteTable, Scope, VethPair
from netkit.errors import BusyError, KernelError, TeardownError
from tests.unit.fake_lab import EACH, Lab, Maker, clean


@EACH
def test_the_bodys_exception_is_kept(lab: Lab, make: Maker) -> None:
    before = lab.kernel.state()
    cause = ValueError("the body's own")
    with pytest.raises(ValueError, match="the body's own") as caught, make(lab):
        raise cause
    assert caught.value is cause
    assert not getattr(cause, "__notes__", [])
    assert lab.kernel.state() == before


def a_block_that_cannot_be_left(lab: Lab, problem: Exception | None) -> None:
    """All that the teardown asks is refused."""
    with Scope() as scope:
        scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
        scope.own(Bridge(lab.blue, "br0"))
        for n in range(1, 20):
            lab.kernel.refuse(n, errno.EBUSY, "not now")
        if problem is not None:
            raise problem


def test_the_bodys_exception_gets_a_note_per_leftover(lab: Lab) -> None:
    with pytest.raises(ValueError, match="body") as caught:
        a_block_that_cannot_be_left(lab, ValueError("body"))
    notes = "\n".join(caught.value.__notes__)
    assert notes.count("not now") >= 2
    assert "'br0' in namespace 'blue'" in notes
    assert "'a' in namespace 'red'" in notes
    assert "may still be there" in notes
    clean(lab)


def test_leftovers_of_a_quiet_body_are_a_teardown_error(lab: Lab) -> None:
    with pytest.raises(TeardownError) as caught:
        a_block_that_cannot_be_left(lab, None)
    assert len(caught.value.exceptions) == 2
    assert all(isinstance(each, BusyError) for each in caught.value.exceptions)
    assert all("may still be there" in each.__notes__[0] for each in caught.value.exceptions)
    clean(lab)


def test_teardown_goes_on_past_errors(lab: Lab) -> None:
    before = lab.kernel.state()
    scope = Scope().__enter__()
    scope.own(Bridge(lab.red, "br0"))
    scope.own(VethPair(lab.red, lab.blue, name="a", peer_name="b"))
    table = scope.own(RouteTable(lab.blue, 100))
    table.add("10.9.0.0/16", type="blackhole")
    table.add("10.8.0.0/16", type="blackhole")
    scope.own(Namespace("box"))
    lab.kernel.refuse(1, errno.EBUSY)  # the first route
    with pytest.raises(TeardownError):
        scope.__exit__(None, None, None)
    left = lab.kernel.state()
    assert [line for line in left["blue"] if line not in before["blue"]] == [
        line for line in left["blue"] if line.startswith("route (2, 100")
    ]
    assert len([line for line in left["blue"] if line not in before["blue"]]) == 1
    assert left["red"] == before["red"]
    assert left["names"] == []


def test_what_could_not_be_removed_can_be_deleted_later(lab: Lab) -> None:
    before = lab.kernel.state()
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    lab.kernel.refuse(2, errno.EBUSY)  # a look first, then the deletion
    with pytest.raises(BusyError):
        veth.delete()
    assert veth.exists
    veth.delete()
    assert lab.kernel.state() == before


def test_what_a_failed_create_could_not_take_back_is_noted(lab: Lab) -> None:
    lab.kernel.refuse(3, errno.ENOMEM)  # an address of the near end
    lab.kernel.refuse(4, errno.EBUSY)  # and the deletion
    with pytest.raises(KernelError, match="ENOMEM") as caught:
        VethPair(lab.red, lab.blue, name="a", peer_name="b", address=["10.0.0.1/24", "10.0.1.1/24"]).create()
    assert any("could not take back" in note and "EBUSY" in note for note in caught.value.__notes__)
    assert "a" in lab.red.links
    lab.red.links["a"].delete()


@pytest.mark.parametrize("port_before", [True, False])
def test_a_refused_option_of_a_port_leaves_it_as_it_was(lab: Lab, port_before: bool) -> None:
    """A link that was a port already stays one; a link that was none is released."""
    link = VethPair(lab.red, lab.blue, name="a", peer_name="b").create().link
    bridge = Bridge(lab.red, "br0").create()
    if port_before:
        bridge.add_port(link, cost=7)
    ports, before = bridge.ports, link.port
    lab.kernel.refuse(3, errno.EINVAL)  # a look at its master, the master, the options
    with pytest.raises(KernelError, match="EINVAL"):
        bridge.add_port(link, cost=9)
    assert (bridge.ports, link.port) == (ports, before)
    assert len(ports) == port_before


def test_gone_while_it_is_taken_back_is_no_note(lab: Lab) -> None:
    lab.kernel.refuse(2, errno.ENOMEM)
    lab.kernel.before(
        3, lambda: lab.kernel._fake(lab.red).links.remove(lab.kernel._fake(lab.red).links.named("a"))
    )  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="ENOMEM") as caught:
        VethPair(lab.red, lab.blue, name="a", peer_name="b", address="10.0.0.1/24").create()
    assert not getattr(caught.value, "__notes__", [])


def test_a_batch_that_fails_leaves_no_route_or_address(lab: Lab) -> None:
    bridge = Bridge(lab.red, "br0", address="172.18.0.1/24").create()
    before = lab.kernel.state()
    for n in range(1, 6):
        lab.kernel.refuse(n, errno.ENOMEM)
        with pytest.raises(KernelError, match="ENOMEM"):
            bridge.connect(lab.blue, name="p", peer_address="172.18.0.2/24", default_route=True, hairpin=True)
        assert lab.kernel.state() == before
        assert [member for member in bridge._members() if member is not bridge] == []
    bridge.connect(lab.blue, name="p", peer_address="172.18.0.2/24", default_route=True, hairpin=True)
    bridge.delete()


def test_add_port_that_fails_releases_the_port(lab: Lab) -> None:
    veth = VethPair(lab.red, lab.blue, name="a", peer_name="b").create()
    bridge = Bridge(lab.red, "br0").create()
    lab.kernel.refuse(2, errno.EINVAL)
    with pytest.raises(KernelError, match="EINVAL"):
        bridge.add_port(veth.link, cost=5)
    assert veth.link.master is None
    veth.delete()
    bridge.delete()
