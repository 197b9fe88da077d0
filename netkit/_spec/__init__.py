"""Frozen, validated values: what a user may ask for, checked before any system call.

    value       the base class of frozen values
    names       names of devices, namespaces, tables, scopes, protocols
    numbers     ports, MTUs, VLANs, weights, timers
    addresses   IP and MAC addresses, Address
    routes      Route, NextHop
    rules       Rule
    bridges     BridgeInfo, PortInfo
    neighbours  Neighbour, FdbEntry
    nat         NatSpec, Match and the four builders

Bad input raises SpecError; nothing here talks to the kernel.
"""
