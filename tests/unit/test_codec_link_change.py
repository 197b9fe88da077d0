"""Messages that change and delete links, and ask for them: what is asked is what stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._netlink.bridge import set_bridge, set_port
from netkit._netlink.link import (
    add_alternative_name,
    bridge,
    delete_alternative_name,
    delete_group,
    delete_link,
    get_link,
    list_links,
    new_link,
    set_group_alias,
    set_link,
    veth,
)
from netkit._netlink.wire import NLM_F_ACK, NLM_F_CREATE, attribute
from netkit.errors import SpecError
from tests.unit.codec_values import given_only, header, macs, names, numbers, said, switches


@given(switches, numbers, st.none() | macs, st.none() | names, numbers, numbers, st.none() | names, numbers)
def test_set(
    up: bool | None,
    mtu: int | None,
    mac: str | None,
    alias: str | None,
    txqlen: int | None,
    group: int | None,
    name: str | None,
    master: int | None,
) -> None:
    request = set_link(
        5, up=up, mtu=mtu, mac=mac, alias=alias, txqlen=txqlen, group=group, name=name, master=master
    )
    assert header(request) == (5, int(bool(up)), int(up is not None)), "other flags are left alone"
    assert request.flags == NLM_F_ACK
    assert said(request) == given_only(
        IFLA_MTU=mtu,
        IFLA_ADDRESS=mac,
        IFLA_IFALIAS=alias,
        IFLA_TXQLEN=txqlen,
        IFLA_GROUP=group,
        IFLA_IFNAME=name,
        IFLA_MASTER=master,
    )


def test_an_empty_alias_is_sent_empty() -> None:
    """With a NUL it would be an alias of one byte; without anything it is removed."""
    assert attribute(20, b"") in set_link(5, alias="").body


def test_a_group_as_a_whole() -> None:
    tagged = set_group_alias(7, "ours")
    assert said(tagged) == {"IFLA_GROUP": 7, "IFLA_IFALIAS": "ours"}
    assert header(tagged) == (0, 0, 0), "no index: the kernel then takes the group"
    assert not tagged.flags & NLM_F_CREATE
    gone = delete_group(7)
    assert (said(gone), header(gone), gone.kind, gone.deleting) == ({"IFLA_GROUP": 7}, (0, 0, 0), 17, True)
    with pytest.raises(SpecError, match="group 0 is the group of all links"):
        delete_group(0)


def test_alternative_names() -> None:
    for request, kind in (
        (add_alternative_name(5, "n" * 127), 108),
        (delete_alternative_name(5, "n" * 127), 109),
    ):
        assert (request.kind, header(request)) == (kind, (5, 0, 0))
        assert said(request) == {"IFLA_PROP_LIST": {"IFLA_ALT_IFNAME": "n" * 127}}


@pytest.mark.parametrize(
    ("name", "attribute_name"),
    [("n" * 15, "IFLA_IFNAME"), ("n" * 16, "IFLA_ALT_IFNAME"), ("é" * 8, "IFLA_ALT_IFNAME")],
)
def test_by_name(name: str, attribute_name: str) -> None:
    assert said(delete_link(name=name)) == {attribute_name: name}
    assert said(get_link(name=name)) == {attribute_name: name, "IFLA_EXT_MASK": 8}


def test_by_index() -> None:
    assert (header(delete_link(7)), said(delete_link(7)), delete_link(7).deleting) == ((7, 0, 0), {}, True)
    assert (header(get_link(7)), said(get_link(7))) == ((7, 0, 0), {"IFLA_EXT_MASK": 8})
    assert (get_link(7).flags, list_links().flags) == (0, 0), "a read wants its answer, and no ACK"
    for make in (get_link, delete_link):
        with pytest.raises(SpecError, match="index= or name="):
            make()


def test_filters_of_a_dump() -> None:
    assert said(list_links(kind="veth", master=3)) == {
        "IFLA_EXT_MASK": 8,
        "IFLA_MASTER": 3,
        "IFLA_LINKINFO": {"IFLA_INFO_KIND": "veth"},
    }


def test_words_of_the_caller_are_kept() -> None:
    words = "do as I say"
    requests = [
        veth("a", "b", operation=words),
        new_link("a", "dummy", operation=words),
        bridge("a", operation=words),
        set_bridge(1, operation=words),
        set_port(1, operation=words),
        set_link(1, operation=words),
        set_group_alias(1, "a", operation=words),
        add_alternative_name(1, "a", operation=words),
        delete_alternative_name(1, "a", operation=words),
        delete_link(1, operation=words),
        delete_group(1, operation=words),
    ]
    assert {request.operation for request in requests} == {words}
