package main

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var reader *netlink.Handle

func openReader(path string) {
	there, err := netns.GetFromPath(path)
	check(err)
	defer there.Close()
	reader, err = netlink.NewHandleAt(there, unix.NETLINK_ROUTE)
	check(err)
}

// readAll puts two dumps together: the addresses by the index of their link.
func readAll() (int, int) {
	links, err := reader.LinkList()
	check(err)
	addresses, err := reader.AddrList(nil, netlink.FAMILY_ALL)
	check(err)
	byIndex := make(map[int][]string, len(links))
	for i := range addresses {
		index := addresses[i].LinkIndex
		byIndex[index] = append(byIndex[index], addresses[i].IPNet.String())
	}
	byName := make(map[string][]string, len(links))
	for _, link := range links {
		byName[link.Attrs().Name] = byIndex[link.Attrs().Index]
	}
	return len(byName), len(addresses)
}

func readOne(name string) int {
	link, err := reader.LinkByName(name)
	check(err)
	return link.Attrs().Index
}
