"""Network address translation.

rule.py       NatRule: the object
backend.py    the two backends behind one face, and the choice between them
nftables*.py  nf_tables over netlink, in a table that the socket owns
iptables*.py  legacy tables through python-iptables, in a worker process inside the namespace
xtables_lock.py  the lock that iptables-legacy takes
"""
