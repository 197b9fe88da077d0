package main

import (
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
)

var device netlink.Link

func openOperator(path string, index int) {
	openReader(path)
	var err error
	device, err = reader.LinkByIndex(index)
	check(err)
}

// eachAddress adds many, one by one, and takes them away again, which is not timed.
func eachAddress(count int) float64 {
	text := func(i int) string { return fmt.Sprintf("10.99.%d.%d/32", i/256, i%256) }
	began := time.Now()
	for i := 0; i < count; i++ {
		address, err := netlink.ParseAddr(text(i))
		check(err)
		check(reader.AddrAdd(device, address))
	}
	seconds := time.Since(began).Seconds() / float64(count)
	for i := 0; i < count; i++ {
		address, err := netlink.ParseAddr(text(i))
		check(err)
		check(reader.AddrDel(device, address))
	}
	return seconds
}

func addAndRemoveRoute(network string) {
	_, destination, err := net.ParseCIDR(network + "/24")
	check(err)
	route := &netlink.Route{LinkIndex: device.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: destination}
	check(reader.RouteAdd(route))
	check(reader.RouteDel(route))
}
