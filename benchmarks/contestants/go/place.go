package main

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// place is a namespace held by its descriptor, and the socket into it.
type place struct {
	fd     netns.NsHandle
	handle *netlink.Handle
}

// newPlace makes a namespace with lo up; the thread comes back.
func newPlace() place {
	home, err := netns.Get()
	check(err)
	defer home.Close()
	fd, err := netns.New()
	check(err)
	check(netns.Set(home))
	handle, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	check(err)
	made := place{fd, handle}
	made.up("lo")
	return made
}

func (p place) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(p.fd))
}

func (p *place) close() {
	p.handle.Delete()
	check(p.fd.Close())
}

func (p place) up(name string) netlink.Link {
	link, err := p.handle.LinkByName(name)
	check(err)
	check(p.handle.LinkSetUp(link))
	return link
}

func (p place) bridge(name string) netlink.Link {
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, Flags: net.FlagUp}}
	check(p.handle.LinkAdd(link))
	return link
}

// veth makes both ends where they belong: the near one up and a port, if there is a master.
func (p place) veth(name string, master netlink.Link, peer string, there place) netlink.Link {
	attributes := netlink.LinkAttrs{Name: name, Flags: net.FlagUp}
	if master != nil {
		attributes.MasterIndex = master.Attrs().Index
	}
	link := &netlink.Veth{LinkAttrs: attributes, PeerName: peer, PeerNamespace: netlink.NsFd(there.fd)}
	check(p.handle.LinkAdd(link))
	return link
}

func (p place) address(link netlink.Link, text string) {
	address, err := netlink.ParseAddr(text)
	check(err)
	check(p.handle.AddrAdd(link, address))
}

func (p place) routeByDevice(link netlink.Link, text string) {
	_, network, err := net.ParseCIDR(text)
	check(err)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: network}
	check(p.handle.RouteAdd(route))
}

func (p place) defaultRoute(link netlink.Link, gateway string) {
	check(p.handle.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gateway)}))
}
