"""Network address translation.

rule.py       NatRule: the object
backend.py    the two backends behind one face, and the choice between them
nftables*.py  nf_tables over netlink, in a table that the socket owns
iptables*.py  legacy tables through python-iptables, in a worker process inside the namespace
xtables_lock.py  the lock that iptables-legacy takes
publish.py    PortMapping: published ports; publish_rules.py says what stands in nf_tables for them,
              publish_part.py and publish_tables.py put it there, publish_plain.py is for what is detached,
              publish_reserve.py binds the ports, publish_devices.py looks after the devices on the way,
              publish_filters.py after reverse-path filters, publish_flush.py forgets what UDP clients
              were led to
"""
