"""Namespaces, threads, processes and sysctls of one machine; knows nothing of netlink messages."""
