from __future__ import annotations

import copy
import ipaddress
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkit._spec import addresses
from netkit._spec.addresses import Address
from netkit.errors import SpecError

IP = st.ip_addresses()
# Addresses that a device can have.
OWN_IP = IP.filter(lambda address: not address.is_multicast and not address.is_unspecified)


@st.composite
def interfaces(draw: st.DrawFn) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    address = draw(OWN_IP)
    return ipaddress.ip_interface((address, draw(st.integers(0, address.max_prefixlen))))


@given(IP)
def test_addresses_round_trip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert addresses.ip_address(str(address)) == address
    assert addresses.ip_address(address) is address


def test_an_int_is_an_address() -> None:
    assert str(addresses.ip_address(0x0A000001)) == "10.0.0.1"
    assert str(addresses.ip_address(2**127)) == "8000::"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("10.0.0.1/24", "write '10.0.0.1'"),
        ("fd00::1/64", "write 'fd00::1'"),
        (ipaddress.ip_interface("10.0.0.1/24"), "write '10.0.0.1'"),
        (ipaddress.ip_network("10.0.0.0/24"), "write '10.0.0.0'"),
        (Address.parse("10.0.0.1/24"), "write '10.0.0.1'"),
        ("fe80::1%eth0", "write 'fe80::1' and dev='eth0'"),
        ("010.0.0.1", "a leading zero is ambiguous"),
        ("10.0.0", "no IP address"),
        ("10.0.0.256", "no IP address"),
        (" 10.0.0.1", "no IP address"),
        ("", "no IP address"),
        (-1, "0 to 2"),
        (2**128, "0 to 2"),
        (True, "is a bool"),
        (1.0, "is a float"),
        (b"\n\0\0\1", "is a bytes"),
        (None, "is a NoneType"),
    ],
)
def test_bad_addresses(bad: object, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        addresses.ip_address(bad)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        (0x0A000001, "10.0.0.1/32"),
        ("fd00::/64", "fd00::/64"),
        (ipaddress.ip_address("::1"), "::1/128"),
        (ipaddress.ip_interface("10.0.0.0/8"), "10.0.0.0/8"),
        (ipaddress.ip_network("0.0.0.0/0"), "0.0.0.0/0"),
        (Address.parse("10.0.0.1/32"), "10.0.0.1/32"),
    ],
)
def test_networks(value: object, text: str) -> None:
    assert addresses.ip_network(value) == ipaddress.ip_network(text)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("10.0.0.1/24", "bits set behind its prefix length: write '10.0.0.0/24'"),
        (ipaddress.ip_interface("10.0.0.1/24"), "write '10.0.0.0/24'"),
        ("fd00::1/64", "write 'fd00::/64'"),
        ("10.0.0.0/33", "no IP network"),
        ("10.0.0.0/-1", "no IP network"),
        ("nonsense", "no IP network"),
        ("fe80::%eth0/64", "names a device"),
        (2**128, "no IP network"),
        (False, "is a bool"),
        (0.5, "is a float"),
        ((1, 2), "is a tuple"),
    ],
)
def test_bad_networks(bad: object, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        addresses.ip_network(bad)


@given(interfaces())
def test_interfaces_round_trip(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
    assert addresses.ip_interface(str(interface)) == interface
    address = Address.parse(interface)
    assert str(address) == str(interface)
    assert address.interface == interface
    assert (address.ip, address.network, address.version) == (
        interface.ip,
        interface.network,
        interface.version,
    )
    assert address.prefixlen == interface.network.prefixlen


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("10.0.0.1", "no prefix length: write '10.0.0.1/24' .* or '10.0.0.1/32'"),
        ("fd00::1", "write 'fd00::1/64' .* or 'fd00::1/128'"),
        (ipaddress.ip_address("10.0.0.1"), "write '10.0.0.1/24'"),
        (0x0A000001, "write '10.0.0.1/24'"),
        (ipaddress.ip_network("10.0.0.0/24"), "is a network: .* such as '10.0.0.1/24'"),
        ("10.0.0.1/33", "no IP address with a prefix length"),
        ("10.0.0.1/", "no IP address with a prefix length"),
        ("010.0.0.1/24", "leading zero"),
        ("0.0.0.0/24", "unspecified"),
        ("224.0.0.1/24", "multicast"),
        ("ff02::1/64", "multicast"),
        ("fe80::1%eth0/64", "names a device"),
        (None, "is a NoneType"),
    ],
)
def test_bad_interfaces(bad: object, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        addresses.ip_interface(bad)


def test_one_or_many() -> None:
    one = ipaddress.ip_interface("10.0.0.1/24")
    six = ipaddress.ip_interface("fd00::1/64")
    assert addresses.one_or_many(None) == ()
    assert addresses.one_or_many("10.0.0.1/24") == (one,)
    assert addresses.one_or_many(one) == (one,)
    assert addresses.one_or_many(Address.parse(six)) == (six,)
    assert addresses.one_or_many(["10.0.0.1/24", six]) == (one, six)
    assert addresses.one_or_many(text for text in ("fd00::1/64", "10.0.0.1/24")) == (six, one)
    assert addresses.one_or_many([]) == ()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (ipaddress.ip_network("10.0.0.0/8"), "is a network"),
        (["10.0.0.1/24", "10.0.0.1/24"], "given twice"),
        (["10.0.0.1/24", "10.0.0.2"], "no prefix length"),
        ("10.0.0.1/24, 10.0.0.2/24", "no IP address"),
        (b"10.0.0.1/24", "is a bytes"),
        (3.5, "is a float"),
        ([["10.0.0.1/24"]], "is a list"),
    ],
)
def test_bad_one_or_many(bad: object, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        addresses.one_or_many(bad)  # type: ignore[arg-type]


@given(st.binary(min_size=6, max_size=6).filter(lambda raw: not raw[0] & 1 and any(raw)))
def test_macs_round_trip(raw: bytes) -> None:
    text = raw.hex(":")
    assert addresses.mac(text) == text
    assert addresses.mac(raw.hex("-").upper()) == text
    assert addresses.mac(raw.hex()) == text


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("01:00:00:00:00:00", "multicast: no device can have it; '00:00:00:00:00:00' is unicast"),
        ("ff:ff:ff:ff:ff:ff", "'fe:ff:ff:ff:ff:ff' is unicast"),
        ("00:00:00:00:00:00", "all zero"),
        ("02:00:00:00:00", "no MAC address"),
        ("02:00:00:00:00:1", "no MAC address"),
        ("02:00-00:00:00:01", "no MAC address"),
        ("020:00:00:00:00:1", "no MAC address"),
        ("02000000000g", "no MAC address"),
        ("", "no MAC address"),
        (2, "is an int"),
        (b"\2\0\0\0\0\1", "is a bytes"),
    ],
)
def test_bad_macs(bad: object, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        addresses.mac(bad)


def test_a_group_address_where_one_is_meant() -> None:
    assert addresses.mac("01:00:5E:00:00:01", unicast=False) == "01:00:5e:00:00:01"


def test_an_address_equals_its_text_and_its_interface() -> None:
    address = Address(b"\n\0\0\1", 24, scope="link", label="eth0", flags=frozenset({"permanent"}))
    assert address == "10.0.0.1/24"
    assert "10.0.0.1/24" == address  # noqa: SIM300 - the other way round is what is tested
    assert address == ipaddress.ip_interface("10.0.0.1/24")
    assert ipaddress.ip_interface("10.0.0.1/24") == address
    assert address == Address.parse("10.0.0.1/24")
    assert address in {"10.0.0.1/24"}
    assert address in ["10.0.0.2/24", "10.0.0.1/24"]
    for other in ("10.0.0.1", "10.0.0.1/25", "10.0.0.2/24", ipaddress.ip_address("10.0.0.1"), 5, None):
        assert address != other


def test_an_address_is_frozen_and_copies() -> None:
    address = Address(
        ipaddress.ip_address("fd00::1").packed,
        64,
        flags=frozenset({"nodad"}),
        peer=ipaddress.ip_address("fd00::2").packed,
        valid_lifetime=60,
    )
    with pytest.raises(AttributeError, match="frozen"):
        address.scope = "host"
    with pytest.raises(AttributeError, match="frozen"):
        del address.scope
    with pytest.raises(AttributeError):
        address.nonsense = 1
    assert copy.deepcopy(address) is address
    again = pickle.loads(pickle.dumps(address))
    assert again == address
    assert (again.flags, again.valid_lifetime, again.preferred_lifetime) == (frozenset({"nodad"}), 60, None)
    assert str(again.peer) == "fd00::2"
    assert again.broadcast is None
    assert repr(address) == "<Address fd00::1/64 scope='global', flags=['nodad']>"


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(alphabet="0123456789abcdef.:/-%[]! "),
    st.binary(),
    st.lists(st.integers() | st.text(), max_size=3),
    st.tuples(st.text(), st.integers()),
    st.dictionaries(st.text(), st.integers(), max_size=2),
    st.builds(object),
    IP,
    interfaces(),
)


@given(JUNK)
def test_junk_is_a_spec_error_or_a_good_value(junk: object) -> None:
    for check in (addresses.ip_address, addresses.ip_network, addresses.ip_interface, addresses.mac):
        try:
            value = check(junk)
        except SpecError:
            continue
        assert check(value) == value


@given(JUNK)
def test_junk_for_one_or_many(junk: object) -> None:
    try:
        found = addresses.one_or_many(junk)  # type: ignore[arg-type]
    except SpecError:
        return
    assert addresses.one_or_many(found) == found


@given(IP)
def test_what_no_host_can_have_is_what_ipaddress_says(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert bool(addresses.not_a_hosts(address)) == (address.is_unspecified or address.is_multicast)
