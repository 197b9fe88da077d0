"""The parts of `netkit.testing`: a simulated kernel behind the transport that real sockets implement.

messages.py    bytes in, bytes out: requests taken apart, answers put together
faults.py      what is to go wrong, and at which request
transport.py   a netlink socket that is none
namespace.py   one simulated network namespace: which table answers which request
links.py       devices: veth, bridge, groups, names, masters
device.py      one device, and how it is reported
addresses.py   addresses of devices, and the routes that come with them
routes.py      routes and look-ups
rules.py       policy rules
neighbours.py  neighbours and forwarding entries
opener.py      namespaces that are made, entered and registered without privileges
"""
