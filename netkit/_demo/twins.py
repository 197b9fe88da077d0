"""The same networks as commands: `ip`, `sysctl`, and `nft` or `iptables`.

The tests run them in a namespace and compare what the kernel has with what netkit made.
"""

from __future__ import annotations

VETH = """
ip netns add ns1
ip netns add ns2
ip link add veth0 netns ns1 type veth peer name veth1 netns ns2
ip -n ns1 address add 172.18.0.2/24 dev veth0
ip -n ns2 address add 172.18.0.3/24 dev veth1
ip -n ns1 link set lo up
ip -n ns2 link set lo up
ip -n ns1 link set veth0 up
ip -n ns2 link set veth1 up
ip -n ns1 route add default dev veth0
ip -n ns2 route add default dev veth1
"""

BRIDGE = """
ip netns add host
ip netns add outside
ip netns add ns1
ip -n host link set lo up
ip -n outside link set lo up
ip -n ns1 link set lo up
ip link add enp1s0 netns host type veth peer name eth0 netns outside
ip link add veth0 netns host type veth peer name veth1 netns ns1
ip -n host link add br0 type bridge
ip -n host link set enp1s0 master br0 up
ip -n host link set veth0 master br0 up
ip -n host link set br0 up
ip -n outside link set eth0 up
ip -n ns1 link set veth1 up
"""

ROUTE_TABLE = """
ip netns add host
ip netns add outside
ip netns add ns1
ip -n host link set lo up
ip -n outside link set lo up
ip -n ns1 link set lo up
ip link add enp1s0 netns host type veth peer name eth0 netns outside
ip -n host address add 192.168.122.220/24 dev enp1s0
ip -n outside address add 192.168.122.1/24 dev eth0
ip -n host link set enp1s0 up
ip -n outside link set eth0 up
ip -n host link add br0 type bridge
ip link add veth0 netns host type veth peer name veth1 netns ns1
ip -n host link set veth0 master br0 up
ip -n host link set br0 up
ip -n ns1 address add 172.18.0.2/24 dev veth1
ip -n ns1 link set veth1 up
ip -n ns1 route add default dev veth1
ip -n host route add 172.18.0.0/24 dev br0
"""

FORWARDING = """
ip netns exec host sysctl -w net.ipv4.ip_forward=1
ip netns exec host sysctl -w net.ipv4.conf.br0.proxy_arp=1
ip netns exec host sysctl -w net.ipv4.neigh.br0.proxy_delay=0
"""

MASQUERADE = {
    "nftables": """
ip netns exec host nft add table ip demo
ip netns exec host nft 'add chain ip demo post { type nat hook postrouting priority 100; }'
ip netns exec host nft add rule ip demo post \\
    oifname enp1s0 ip saddr 172.18.0.0/24 masquerade
""",
    "iptables": """
ip netns exec host iptables-legacy -t nat -A POSTROUTING \\
    -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE
""",
}

DNAT = {
    "nftables": """
ip netns exec host nft 'add chain ip demo pre { type nat hook prerouting priority -100; }'
ip netns exec host nft add rule ip demo pre tcp dport 80 dnat to 172.18.0.2:80
""",
    "iptables": """
ip netns exec host iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 \\
    -j DNAT --to-destination 172.18.0.2:80
""",
}

# As `iptables-legacy -t nat -S` prints the two rules above.
IPTABLES_RULES = [
    "-A POSTROUTING -s 172.18.0.0/24 -o enp1s0 -j MASQUERADE",
    "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80",
]
