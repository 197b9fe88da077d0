"""A project of somebody who tests a network program with netkit's fixtures, as small as it gets."""
