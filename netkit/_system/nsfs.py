"""Network namespaces in the file system: open, identify, and register under a name in /run/netns."""

from __future__ import annotations

from netkit._system.namespace_files import (
    NETNS_DIRECTORY,
    identity,
    is_namespace,
    is_stale,
    open_current,
    open_descriptor,
    open_name_or_path,
    open_pid,
    path_identity,
    registered_path,
)
from netkit._system.registration import Registration, register_mount, register_symlink, registration_of

__all__ = [
    "NETNS_DIRECTORY",
    "Registration",
    "identity",
    "is_namespace",
    "is_stale",
    "open_current",
    "open_descriptor",
    "open_name_or_path",
    "open_pid",
    "path_identity",
    "register_mount",
    "register_symlink",
    "registered_path",
    "registration_of",
]
