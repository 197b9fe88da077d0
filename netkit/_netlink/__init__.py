"""Netlink: bytes and sockets. Knows nothing of namespaces or lifetimes.

wire.py     headers, attributes, acknowledgements: bytes only, no input or output
policy.py   what each attribute is called and how it is read: tables, not branches
layout.py   many messages that look alike, read fast
socket.py   the one reused socket: lock, sequence numbers, batches, dumps

Value <-> message, one file per kernel object:
link.py         requests; link_message.py what they are made of, link_policy.py the tables,
                link_record.py the reading, link_kinds.py the options of small kinds
bridge.py       bridges and their ports; bridge_record.py the reading
address.py      addresses; multicast.py the groups a link has joined
route.py        requests; route_record.py the reading, route_copy.py both in one
rule.py neighbour.py fdb.py nsid.py
nft.py          nf_tables; nft_expressions.py, nft_policy.py
ethtool.py      what an ioctl answers sooner
longtail.py     rare kinds through pyroute2, whose only importer it is
"""
