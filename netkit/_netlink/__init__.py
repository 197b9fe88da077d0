"""Netlink: bytes and sockets. Knows nothing of namespaces or lifetimes.

wire.py     headers, attributes, acknowledgements: bytes only, no input or output
policy.py   what each attribute is called and how it is read: tables, not branches
socket.py   the one reused socket: lock, sequence numbers, batches, dumps
link.py address.py route.py rule.py neighbour.py nft.py
            value <-> message, one file per kernel object
longtail.py rare kinds through pyroute2
"""
