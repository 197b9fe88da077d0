package main

import (
	"os"

	"github.com/vishvananda/netns"
)

const everywhere = "0.0.0.0/0" // the default route

var (
	demoNames = []string{"ns1", "ns2", "host", "box", "outside"}
	demo      map[string]place
)

// Written from inside: /proc/sys/net is that of the namespace the thread is in. For br0's see commands.py.
func forward(host place) {
	home, err := netns.Get()
	check(err)
	defer home.Close()
	check(netns.Set(host.fd))
	for key, value := range map[string]string{
		"ip_forward": "1", "conf/br0/proxy_arp": "1", "neigh/br0/proxy_delay": "0",
	} {
		check(os.WriteFile("/proc/sys/net/ipv4/"+key, []byte(value), 0o644))
	}
	check(netns.Set(home))
}

func buildDemo() {
	demo = map[string]place{}
	for _, name := range demoNames {
		demo[name] = newPlace()
	}
	ns1, ns2, host, box, outside := demo["ns1"], demo["ns2"], demo["host"], demo["box"], demo["outside"]

	near := ns1.veth("veth0", nil, "veth1", ns2)
	ns1.address(near, "172.18.0.2/24")
	far := ns2.up("veth1")
	ns2.address(far, "172.18.0.3/24")
	ns1.routeByDevice(near, everywhere)
	ns2.routeByDevice(far, everywhere)

	bridge := host.bridge("br0")
	host.address(host.veth("enp1s0", nil, "eth0", outside), "192.168.122.220/24")
	outside.address(outside.up("eth0"), "192.168.122.1/24")
	host.veth("veth0", bridge, "veth1", box)
	inside := box.up("veth1")
	box.address(inside, "172.18.0.2/24")
	box.routeByDevice(inside, everywhere)
	host.routeByDevice(bridge, "172.18.0.0/24")
	forward(host)
	addNat(host)
}

func removeDemo() {
	for _, made := range demo {
		made.close()
	}
}

func demoPlaces() reply {
	paths := reply{}
	for name, made := range demo {
		paths[name] = made.path()
	}
	return paths
}
