"""Plans as data: there and back, from JSON, TOML and YAML, and where in them something is wrong."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netkit import SpecError, Topology
from tests.unit.topology_plans import rich_plans


@settings(max_examples=200)
@given(plan=rich_plans())
def test_there_and_back(plan: Topology) -> None:
    assert Topology.from_dict(plan.to_dict()) == plan
    assert Topology.from_json(json.dumps(plan.to_dict())) == plan


@pytest.mark.parametrize(
    "plan",
    [
        Topology(),
        Topology(subnet=None),
        Topology.star(3),
        Topology.ring(3, subnet=["auto", "auto6"]),
        Topology.tree(2),
    ],
    ids=repr,
)
def test_shapes_there_and_back(plan: Topology) -> None:
    assert Topology.from_dict(plan.to_dict()) == plan


OFFICE = Topology()
OFFICE.add_router("gate", named=True, sysctls={"net.ipv4.ip_default_ttl": 99})
OFFICE.add_bridge("lan", "gate", address="auto", subnet="192.168.7.0/24", ageing_time=60)
OFFICE.add_namespace("desk")
OFFICE.add_namespace("outside")
OFFICE.add_link("desk", "lan", name="lan0", default_route=True, mtu=1400)
OFFICE.add_link("gate", "outside", name="wan", subnet="198.51.100.0/30", peer_address=None)
OFFICE.add_route("gate", "10.66.0.0/16", type="blackhole")
OFFICE.masquerade("gate", saddr="lan", oif="wan")
OFFICE.dnat("gate", proto="tcp", dport=(8000, 8010), to="desk")

AS_DICT = {
    "namespaces": {
        "gate": {
            "forwarding": True,
            "named": True,
            "sysctls": {"net.ipv4.ip_default_ttl": 99},
            "routes": [{"dst": "10.66.0.0/16", "type": "blackhole"}],
            "nat": [
                {"kind": "masquerade", "saddr": "lan", "oif": "wan"},
                {"kind": "dnat", "proto": "tcp", "dport": "8000-8010", "to": "desk"},
            ],
        },
        "desk": {},
        "outside": {},
    },
    "bridges": {
        "lan": {"namespace": "gate", "address": "auto", "subnet": "192.168.7.0/24", "ageing_time": 60}
    },
    "links": [
        {"ends": [{"namespace": "desk", "name": "lan0", "default_route": True}, "lan"], "mtu": 1400},
        {
            "ends": [{"namespace": "gate", "name": "wan"}, {"namespace": "outside", "address": []}],
            "subnet": "198.51.100.0/30",
        },
    ],
}

AS_TOML = """
[namespaces.gate]
forwarding = true
named = true
sysctls = { "net.ipv4.ip_default_ttl" = 99 }
routes = [{ dst = "10.66.0.0/16", type = "blackhole" }]
nat = [
    { kind = "masquerade", saddr = "lan", oif = "wan" },
    { kind = "dnat", proto = "tcp", dport = "8000-8010", to = "desk" },
]

[namespaces.desk]
[namespaces.outside]

[bridges.lan]
namespace = "gate"
address = "auto"
subnet = "192.168.7.0/24"
ageing_time = 60

[[links]]
ends = [{ namespace = "desk", name = "lan0", default_route = true }, "lan"]
mtu = 1400

[[links]]
ends = ["gate:wan", { namespace = "outside", address = [] }]
subnet = "198.51.100.0/30"
"""

AS_YAML = """
namespaces:
  gate:
    forwarding: yes
    named: true
    sysctls: {net.ipv4.ip_default_ttl: 99}
    routes:
      - {dst: 10.66.0.0/16, type: blackhole}
    nat:
      - {kind: masquerade, saddr: lan, oif: wan}
      - {kind: dnat, proto: tcp, dport: 8000-8010, to: desk}
  desk:
  outside: {}
bridges:
  lan: {namespace: gate, address: auto, subnet: 192.168.7.0/24, ageing_time: 60, mtu:}
links:
  - ends: [{namespace: desk, name: lan0, default_route: true}, lan]
    mtu: 1400
  - ends: ["gate:wan", {namespace: outside, address: }]
    subnet: 198.51.100.0/30
"""


def test_the_dict_is_what_the_documentation_says() -> None:
    assert OFFICE.to_dict() == AS_DICT


def test_json_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    assert Topology.from_json(json.dumps(AS_DICT).encode()) == OFFICE
    assert Topology.from_toml(AS_TOML) == Topology.from_toml(AS_TOML.encode()) == OFFICE
    assert Topology.from_yaml(AS_YAML) == Topology.from_yaml(AS_YAML.encode()) == OFFICE
    for suffix, text in (
        (".json", json.dumps(AS_DICT)),
        (".toml", AS_TOML),
        (".yml", AS_YAML),
        (".YAML", AS_YAML),
    ):
        path = tmp_path / f"lab{suffix}"
        path.write_text(text)
        assert Topology.load(path) == Topology.load(str(path)) == OFFICE


def test_names_alone_are_enough() -> None:
    links = [{"ends": ["a", "b:0"]}, {"ends": ["b:0:eth7", "lan"]}]
    plan = Topology.from_dict({"namespaces": ["a", "b:0"], "bridges": ["lan"], "links": links})
    assert plan.links[1].ends[0].name == "eth7"
    assert (list(plan.namespaces), list(plan.bridges)) == (["a", "b:0"], ["lan"])


def test_what_reads_plans_is_loaded_when_it_is_needed() -> None:
    import subprocess

    code = "import netkit, sys; netkit.Topology.star(2).to_dict(); print(*LATE & {*sys.modules})"
    code = code.replace("LATE", "{'json', 'tomllib', 'yaml', 'difflib'}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


# -- what is wrong, and where ---------------------------------------------------------


def office(path: str, value: object) -> dict[str, Any]:
    """The office with something else in one place."""
    data: dict[str, Any] = json.loads(json.dumps(AS_DICT))
    *way, last = [int(word) if word.isdigit() else word for word in path.split("/")]
    here: Any = data
    for word in way:
        here = here[word]
    here[last] = value
    return data


GATE, LAN = "namespaces.gate", "bridges.lan"
WRONG: dict[str, tuple[str, object, str]] = {
    "no table": ("namespaces", 5, "namespaces: 5 is an int: a table is wanted"),
    "no list": ("links", {}, "links: {} is a table: a list is wanted"),
    "a key": ("namespaecs", {}, "namespaecs: there is no such key here: did you mean 'namespaces'?"),
    "a key of a bridge": (
        "bridges/lan/adress",
        "",
        f"{LAN}.adress: there is no such key here: did you mean 'addr",
    ),
    "a key of an end": (
        "links/1/ends/1",
        {"namespace": "outside", "addr": 1},
        "links[1].ends[1].addr: there is",
    ),
    "a key of another rule": ("namespaces/gate/nat/0/iif", "wan", f"{GATE}.nat[0].iif: there is no such key"),
    "no kind": ("namespaces/gate/nat/1", {"to": "desk"}, f"{GATE}.nat[1].kind: it is missing"),
    "a kind": ("namespaces/gate/nat/1/kind", "snatt", f"{GATE}.nat[1].kind: 'snatt' is no NAT rule: did you"),
    "a port": ("namespaces/gate/nat/1/dport", 70000, f"{GATE}.nat[1]: dport 70000 is out of range"),
    "an address": (
        "links/0/ends/0/address",
        "10.0.0.300/24",
        "links[0].ends[0].address: address '10.0.0.300/24'",
    ),
    "a MAC": ("links/0/ends/0/mac", 45296, "links[0].ends[0].mac: mac 45296 is an int"),
    "a port's address": (
        "links/0/ends/1",
        {"bridge": "lan", "address": "10.0.0.1/8"},
        "links[0].ends[1]: the end at",
    ),
    "an unknown end": ("links/1/ends/1", "outsid", "links[1].ends[1]: 'outsid' is no namespace or bridge of"),
    "a bridge": (
        "links/0/ends/1",
        {"namespace": "lan"},
        "links[0].ends[1].namespace: 'lan' is a bridge: write",
    ),
    "both": (
        "links/0/ends/1",
        {"namespace": "gate", "bridge": "lan"},
        "links[0].ends[1]: an end is in a namesp",
    ),
    "a device without a name": ("links/1/ends/1", "outside:", "links[1].ends[1]: name '' is empty"),
    "a device that YAML takes for a bool": (
        "namespaces/gate/nat/0/oif",
        False,
        f"{GATE}.nat[0]: oif False is no device",
    ),
    "a port that YAML takes for a bool": (
        "namespaces/gate/nat/1/dport",
        False,
        f"{GATE}.nat[1]: dport False",
    ),
    "a metric that YAML takes for a bool": (
        "namespaces/gate/routes/0/metric",
        False,
        f"{GATE}.routes[0]: metric False is a bool",
    ),
    "three ends": ("links/0/ends", ["desk", "lan", "gate"], "links[0].ends: a link has two, not 3"),
    "no ends": ("links/1", {"mtu": 1400}, "links[1].ends: it is missing"),
    "no end": ("links/0/ends/0", 7, "links[0].ends[0]: 7 is an int: a table is wanted"),
    "an MTU": ("links/0/mtu", "1400", "links[0].mtu: mtu '1400' is a str"),
    "a bool": (
        "namespaces/gate/forwarding",
        "yes",
        f"{GATE}.forwarding: it 'yes' is a str: give True or False",
    ),
    "a name to register": ("namespaces/gate/named", "a b", f"{GATE}.named: named 'a b' contains a space"),
    "a sysctl": (
        "namespaces/gate/sysctls",
        {"kernel.x": 1},
        f"{GATE}.sysctls['kernel.x']: sysctl key 'kernel.x'",
    ),
    "a sysctl's value": ("namespaces/gate/sysctls", {"net.x": [1]}, f"{GATE}.sysctls['net.x']: "),
    "a route": ("namespaces/gate/routes/0/metric", -1, f"{GATE}.routes[0]: metric -1 is out of range"),
    "a route to nowhere": (
        "namespaces/gate/routes/0",
        {"via": "10.0.0.1"},
        f"{GATE}.routes[0].dst: it is missing",
    ),
    "a bridge's option": ("bridges/lan/ageing_time", "60", f"{LAN}.ageing_time: ageing_time '60' is a str"),
    "a bridge's place": (
        "bridges/lan/namespace",
        "gatte",
        f"{LAN}.namespace: 'gatte' is no namespace of the plan",
    ),
    "a name twice": (
        "bridges/desk",
        {},
        "bridges.desk: bridge name 'desk' is taken: the plan has a namespace",
    ),
    "a name": ("namespaces/a b", {}, "namespaces['a b']: namespace name 'a b' contains a space"),
    "a key that is no str": (
        "namespaces",
        {True: {}},
        "namespaces: the key True is a bool, not a str: write it in",
    ),
    "a pool": ("subnet", "10.0.0.1/24", "subnet: subnet '10.0.0.1/24' has bits set behind its prefix length"),
    "a small subnet": (
        "bridges/lan/subnet",
        "192.168.7.0/32",
        f"{LAN}.subnet: 192.168.7.0/32 holds 1 address,",
    ),
    "a port's subnet": ("links/0/subnet", "10.0.0.0/24", "links[0]: subnet= of a link to a bridge"),
    "a gateway": (
        "links/1/ends/0/default_route",
        "desk",
        "links[1].ends[0].default_route: 'desk' is not on the same wire",
    ),
    "a device twice": (
        "bridges/lan/device",
        "wan",
        "links[1].ends[0].name: 'wan' is taken in namespace 'gate'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_begin_with_the_place(case: str) -> None:
    path, value, words = WRONG[case]
    with pytest.raises(SpecError) as caught:
        Topology.from_dict(office(path, value))
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("data", [None, 5, [], "namespaces", [["namespaces", {}]]])
def test_what_is_no_table_at_all(data: Any) -> None:
    if data is None:  # an empty YAML file
        assert Topology.from_dict(data) == Topology()
        return
    with pytest.raises(SpecError, match="a table is wanted"):
        Topology.from_dict(data)


WORDS = st.sampled_from(["desk", "lan", "auto", "10.0.0.1/24", "ends", "kind", "dst", "to", "namespace"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_comes_is_a_plan_or_a_spec_error(data: st.DataObject) -> None:
    places: list[str] = []

    def walk(value: Any, path: str) -> None:
        if path:
            places.append(path)
        if isinstance(value, dict):
            for key, each in value.items():
                walk(each, f"{path}/{key}".lstrip("/"))
        elif isinstance(value, list):
            for number, each in enumerate(value):
                walk(each, f"{path}/{number}")

    walk(AS_DICT, "")
    try:
        plan = Topology.from_dict(office(data.draw(st.sampled_from(places)), data.draw(JUNK)))
    except SpecError:
        return
    assert Topology.from_dict(plan.to_dict()) == plan


@pytest.mark.parametrize(
    ("method", "text", "words"),
    [
        ("from_json", "{", "this is no JSON: Expecting property name"),
        ("from_json", b"\xff", "this is no JSON: "),
        ("from_json", '{"namespaces": {"a": {}, "a": {}}}', "this JSON has the key 'a' twice in one object"),
        ("from_toml", "[", "this is no TOML: "),
        ("from_toml", b"\xff", "this is no TOML: "),
        ("from_toml", "[namespaces.a]\n[namespaces.a]\n", "this is no TOML: "),
        ("from_yaml", "a: [", "this is no YAML: "),
        (
            "from_yaml",
            "namespaces:\n  a:\n  b:\n  a:\n",
            "this YAML has the key 'a' twice in one mapping, in l",
        ),
        (
            "from_yaml",
            "namespaces: {no: }",
            "namespaces: the key False is a bool, not a str: write",
        ),
        ("from_yaml", "? [a, b]\n: c\n", "this is no YAML: while constructing a mapping"),
        ("from_yaml", "links: !!python/object:os.system {}", "this is no YAML: "),
    ],
)
def test_texts_that_are_none(method: str, text: str | bytes, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        getattr(Topology, method)(text)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("method", ["from_json", "from_toml", "from_yaml"])
def test_a_file_or_path_is_no_text(method: str) -> None:
    """PyYAML takes a file, which after the look for equal keys was empty: so was the plan."""
    for content in (io.StringIO("namespaces: {a: }"), Path("lab.yaml"), None):
        with pytest.raises(TypeError, match=r"a str or bytes is wanted, not a .*; Topology.load\(PATH\)"):
            getattr(Topology, method)(content)


def test_a_sysctl_of_many_digits_stays_a_text() -> None:
    plan = Topology()
    plan.add_namespace("a", sysctls={"net.one": "9" * 5000, "net.other": 2**63})
    data = plan.to_dict()
    assert data["namespaces"]["a"]["sysctls"] == {"net.one": "9" * 5000, "net.other": str(2**63)}
    assert Topology.from_dict(data) == plan


def test_yaml_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SpecError, match=r"needs the package PyYAML, .*: pip install PyYAML"):
        Topology.from_yaml("namespaces: {}")


def test_a_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text("links = 3")
    with pytest.raises(SpecError, match=r"lab.toml: links: 3 is an int: a list is wanted"):
        Topology.load(path)
    with pytest.raises(SpecError, match=r"lab.ini: its name ends in none of .json, .toml, .yaml, .yml"):
        Topology.load(tmp_path / "lab.ini")
    with pytest.raises(FileNotFoundError):
        Topology.load(tmp_path / "none.json")


def test_a_mac_that_yaml_takes_for_a_number() -> None:
    ends = "[a, {namespace: b, mac: 10:20:30:40:50:59}]"
    with pytest.raises(SpecError, match=r"^links\[0\].*a MAC address is a str; put it in quotes"):
        Topology.from_yaml(f"namespaces: {{a: , b: }}\nlinks: [{{ends: {ends}}}]")
