package main

import (
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func equals(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}
}

func masquerade() []expr.Any {
	uplink := make([]byte, 16)
	copy(uplink, "enp1s0")
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(24, 32), Xor: make([]byte, 4)},
		equals(net.IPv4(172, 18, 0, 0).To4()),
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		equals(uplink),
		&expr.Masq{},
	}
}

func dnat() []expr.Any {
	port := binaryutil.BigEndian.PutUint16(80)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		equals([]byte{unix.IPPROTO_TCP}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		equals(port),
		&expr.Immediate{Register: 1, Data: net.IPv4(172, 18, 0, 2).To4()},
		&expr.Immediate{Register: 2, Data: port},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	}
}

// addNat sends the table, its chains and rules in one transaction.
func addNat(host place) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(host.fd)))
	check(err)
	table := conn.AddTable(&nftables.Table{Name: "demo", Family: nftables.TableFamilyIPv4})
	add := func(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority, exprs []expr.Any) {
		chain := conn.AddChain(&nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority,
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	add("prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, dnat())
	add("postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, masquerade())
	check(conn.Flush())
}
