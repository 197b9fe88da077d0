package main

import (
	"encoding/binary"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// An attribute's length has 16 bits.
const elementsAtOnce = 1500

var published struct {
	conn  *nftables.Conn
	table *nftables.Table
	set   *nftables.Set
}

func openPorts(path string) {
	fd, err := netns.GetFromPath(path)
	check(err)
	conn, err := nftables.New(nftables.WithNetNSFd(int(fd)))
	check(err)
	published.conn = conn
}

// portElement is as in floor/ports.c.
func portElement(number int) nftables.SetElement {
	key, data := make([]byte, 8), []byte{172, 18, byte(number/250 + 1), byte(number%250 + 2), 0, 0, 0, 0}
	key[0] = unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(key[4:], uint16(10000+number))
	binary.BigEndian.PutUint16(data[4:], uint16(number%1000+1))
	return nftables.SetElement{Key: key, Val: data}
}

func translation(name string, hook *nftables.ChainHook) {
	chain := published.conn.AddChain(&nftables.Chain{
		Name: name, Table: published.table, Type: nftables.ChainTypeNAT, Hooknum: hook,
		Priority: nftables.ChainPriorityNATDest,
	})
	published.conn.AddRule(&nftables.Rule{Table: published.table, Chain: chain, Exprs: []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		equals([]byte{unix.RTN_LOCAL, 0, 0, 0}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 8},
		&expr.Payload{DestRegister: 9, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 8, DestRegister: 8, IsDestRegSet: true, SetName: published.set.Name, SetID: published.set.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 8, RegProtoMin: 9},
	}})
}

func masqueradeSubnet() {
	chain := published.conn.AddChain(&nftables.Chain{
		Name: "postrouting", Table: published.table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	published.conn.AddRule(&nftables.Rule{Table: published.table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 2},
		equals([]byte{172, 18}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 2},
		equals([]byte{172, 18}),
		&expr.Masq{},
	}})
}

// publishPorts sends as many at once as can be.
func publishPorts(count int) {
	conn := published.conn
	published.table = conn.AddTable(&nftables.Table{Name: "peer", Family: nftables.TableFamilyIPv4})
	published.set = &nftables.Set{
		Table: published.table, Name: "ports", IsMap: true, Counter: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
	check(conn.AddSet(published.set, nil))
	translation("prerouting", nftables.ChainHookPrerouting)
	translation("output", nftables.ChainHookOutput)
	masqueradeSubnet()
	for first := 0; first < count; first += elementsAtOnce {
		elements := []nftables.SetElement{}
		for number := first; number < count && number < first+elementsAtOnce; number++ {
			elements = append(elements, portElement(number))
		}
		check(conn.SetAddElements(published.set, elements))
		// More do not fit the socket's send buffer, which the library leaves as it is.
		check(conn.Flush())
	}
}

func unpublishPorts() {
	published.conn.DelTable(published.table)
	check(published.conn.Flush())
}

func listPorts() int {
	elements, err := published.conn.GetSetElements(published.set)
	check(err)
	return len(elements)
}

// addPorts adds them one by one.
func addPorts(first, count int) {
	for number := first; number < first+count; number++ {
		check(published.conn.SetAddElements(published.set, []nftables.SetElement{portElement(number)}))
		check(published.conn.Flush())
	}
}

// morePorts is the time of one that is added; their removal is not timed.
func morePorts(first, count int) float64 {
	began := time.Now()
	addPorts(first, count)
	seconds := time.Since(began).Seconds() / float64(count)
	for number := first; number < first+count; number++ {
		check(published.conn.SetDeleteElements(published.set, []nftables.SetElement{portElement(number)}))
		check(published.conn.Flush())
	}
	return seconds
}
