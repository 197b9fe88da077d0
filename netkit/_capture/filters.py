"""Filters in pcap's language (pcap-filter(7)), compiled by libpcap, which tcpdump brings."""

from __future__ import annotations

import ctypes
import struct
from ctypes.util import find_library

from netkit._spec.value import shown, type_of
from netkit.errors import SpecError, UnsupportedError

ETHERNET, RAW_IP = 1, 12  # DLT_EN10MB, DLT_RAW
_ALL = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN
_RETURN = 0x06  # BPF_RET | BPF_K


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


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
    return _compiled(_library(), expression, snaplen, link_type)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(find_library("pcap") or "libpcap.so.0.8")
    except OSError:
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
    return library


def _compiled(library: ctypes.CDLL, expression: str, snaplen: int, link_type: int) -> bytes:
    handle = library.pcap_open_dead(link_type, snaplen)
    program = _Program()
    try:
        if library.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, _ALL):
            words = library.pcap_geterr(handle).decode(errors="replace")
            raise SpecError(f"the filter {shown(expression)} is not understood: {words} (see pcap-filter(7))")
        code = ctypes.string_at(program.instructions, program.length * 8)
        library.pcap_freecode(ctypes.byref(program))
        return code
    finally:
        library.pcap_close(handle)
