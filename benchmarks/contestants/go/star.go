package main

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
)

const (
	ports   = 1000 // of one bridge, as in plan.py
	gateway = "10.64.0.1"
)

var (
	hub        *place
	bridges    []netlink.Link
	portLinks  []netlink.Link
	containers []place
	dropping   = len(os.Args) > 1 && os.Args[1] == "dropping"
)

// starAddress is the gateway's for 0, then the containers'.
func starAddress(number int) string {
	value := 0x0a400001 + number
	return net.IPv4(byte(value>>24), byte(value>>16), byte(value>>8), byte(value)).String() + "/16"
}

func hubPath() string {
	if hub == nil {
		made := newPlace()
		hub = &made
	}
	return hub.path()
}

func containerPath(number int) string {
	return containers[number].path()
}

// A further bridge is joined to the first by a veth within the hub.
func addBridge(number int) {
	bridge := hub.bridge(fmt.Sprintf("br%d", number))
	bridges = append(bridges, bridge)
	if number == 0 {
		hub.address(bridge, starAddress(0))
		return
	}
	up := fmt.Sprintf("up%d", number)
	hub.veth(fmt.Sprintf("down%d", number), bridges[0], up, *hub)
	check(hub.handle.LinkSetMaster(hub.up(up), bridge))
}

func addContainer(number int) {
	container := newPlace()
	containers = append(containers, container)
	port := hub.veth(fmt.Sprintf("port%d", number), bridges[number/ports], "eth0", container)
	portLinks = append(portLinks, port)
	link := container.up("eth0")
	container.address(link, starAddress(1+number))
	container.defaultRoute(link, gateway)
}

func buildStar(size int) {
	bridges, portLinks, containers = nil, nil, nil
	for number := 0; number*ports < size; number++ {
		addBridge(number)
	}
	for number := 0; number < size; number++ {
		addContainer(number)
	}
}

// The library deletes link by link: it has no deletion by group. Who only drops the namespaces and does
// not mind when the names are free (go-contestant dropping) leaves the ports to the kernel.
func removeStar() {
	for _, port := range portLinks {
		if !dropping {
			check(hub.handle.LinkDel(port))
		}
	}
	for number := 1; number < len(bridges); number++ {
		link, err := hub.handle.LinkByName(fmt.Sprintf("down%d", number))
		check(err)
		check(hub.handle.LinkDel(link))
	}
	for _, bridge := range bridges {
		check(hub.handle.LinkDel(bridge))
	}
	for i := range containers {
		containers[i].close()
	}
}
