"""Filters in pcap's language (pcap-filter(7)), compiled by libpcap, which tcpdump brings."""

from __future__ import annotations

import ctypes
import re
import struct
from ctypes.util import find_library

from netkit._spec.value import shown, type_of
from netkit.errors import SpecError, UnsupportedError, raise_limit

ETHERNET, RAW_IP = 1, 12  # DLT_EN10MB, DLT_RAW
_ALL = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN
_RETURN = 0x06  # BPF_RET | BPF_K


_TAGS = re.compile(r"\bvlan\b")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


class _Header(ctypes.Structure):  # struct pcap_pkthdr
    _fields_ = (("time", ctypes.c_long * 2), ("captured", ctypes.c_uint32), ("length", ctypes.c_uint32))


class Matcher:
    """A filter that is applied to packets with their VLAN tags in their place, as one of a file is."""

    def __init__(self, expression: str, snaplen: int, link_type: int) -> None:
        self.snaplen = snaplen
        self._library = _library()
        self._program = _program(self._library, expression, snaplen, link_type)

    def __call__(self, raw: bytes, length: int) -> bool:
        header = _Header((0, 0), len(raw), length)
        return bool(self._library.pcap_offline_filter(ctypes.byref(self._program), ctypes.byref(header), raw))

    def __del__(self) -> None:
        if hasattr(self, "_program"):
            self._library.pcap_freecode(ctypes.byref(self._program))


def by_tags(expression: str | None, snaplen: int, link_type: int = ETHERNET) -> Matcher | None:
    """For a filter that asks for VLAN tags: the kernel takes them out before its own filters see a packet."""
    if expression is None or _TAGS.search(expression) is None:
        return None
    return Matcher(expression, snaplen, link_type)


def compiled(expression: object, snaplen: int, link_type: int = ETHERNET) -> bytes:
    """The program for the kernel, which keeps ``snaplen`` bytes of what it lets through.

    Without an expression libpcap is not needed.
    """
    if expression is None:
        return struct.pack("=HBBI", _RETURN, 0, 0, snaplen)
    if not isinstance(expression, str):
        what = type_of(expression)
        raise SpecError(f"the filter {shown(expression)} is {what}: give text, such as 'tcp port 80'")
    if "\0" in expression:
        raise SpecError(f"the filter {shown(expression)} contains NUL")
    library = _library()
    program = _program(library, expression, snaplen, link_type)
    code = ctypes.string_at(program.instructions, program.length * 8)
    library.pcap_freecode(ctypes.byref(program))
    return code


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(find_library("pcap") or "libpcap.so.0.8")
    except OSError as problem:
        raise_limit("compile a filter", problem)
        raise UnsupportedError(
            "compile a filter", 0, hint="libpcap is not installed (Debian package libpcap0.8, or tcpdump)"
        ) from None
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    for name in ("pcap_geterr", "pcap_close"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.pcap_compile.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32
    ]  # fmt: skip
    library.pcap_offline_filter.argtypes = [
        ctypes.POINTER(_Program), ctypes.POINTER(_Header), ctypes.c_char_p
    ]  # fmt: skip
    return library


def _program(library: ctypes.CDLL, expression: str, snaplen: int, link_type: int) -> _Program:
    handle = library.pcap_open_dead(link_type, snaplen)
    program = _Program()
    text = expression.encode(errors="replace")
    try:
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, _ALL):
            words = library.pcap_geterr(handle).decode(errors="replace")
            raise SpecError(f"the filter {shown(expression)} is not understood: {words} (see pcap-filter(7))")
        return program
    finally:
        library.pcap_close(handle)
