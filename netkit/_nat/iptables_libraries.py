"""Import python-iptables without the compiler runs it would make to find its libraries.

It asks ``ctypes.util.find_library`` for each, which runs ldconfig, gcc and ld, and ``ldconfig -v``
for the extensions: 0.4 s in all. Known names are tried first; where they fail, its own way is used.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import os
import sys
import sysconfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SONAMES = {
    "c": ("libc.so.6",),
    "xtables": ("libxtables.so.12",),
    "ip4tc": ("libip4tc.so.2",),
    "ip6tc": ("libip6tc.so.2",),
}


class LibraryMissing(Exception):
    """python-iptables or a C library of it cannot be loaded; the text says what to install."""


def load_iptc() -> Any:
    """The module ``iptc``, imported on the first call."""
    if "iptc" in sys.modules:
        return sys.modules["iptc"]
    _set_extension_directory()
    asked = ctypes.util.find_library
    ctypes.util.find_library = _find_library(asked)  # type: ignore[assignment]
    try:
        import iptc  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise LibraryMissing(
            f"{error}; it is python-iptables on PyPI and python3-iptables in Debian"
        ) from error
    except Exception as error:  # a missing libip4tc is an AttributeError, a missing directory XTablesError
        raise LibraryMissing(
            f"python-iptables cannot load its C libraries ({type(error).__name__}: {error}); "
            "Debian's package iptables brings libxtables12, libip4tc2, libip6tc2 and the extensions"
        ) from error
    finally:
        ctypes.util.find_library = asked
    return iptc


def _set_extension_directory() -> None:
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for library in (f"/usr/lib/{multiarch}", "/usr/lib64", "/usr/lib", "/lib"):
        if "XTABLES_LIBDIR" not in os.environ and os.path.isdir(f"{library}/xtables"):
            os.environ["XTABLES_LIBDIR"] = f"{library}/xtables"


def _find_library(asked: Callable[[str], str | None]) -> Callable[[str], str | None]:
    def find(name: str) -> str | None:
        for soname in _SONAMES.get(name, ()):
            if _loads(soname):
                return soname
        if "xtwrapper" in name:
            return _wrapper()
        return asked(name)

    return find


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _wrapper() -> str | None:
    # Built beside the package; where it is not, None makes iptc look along sys.path itself.
    for directory in sys.path:
        found = glob.glob(os.path.join(glob.escape(directory), "libxtwrapper*.so"))
        if found and os.path.isdir(os.path.join(directory, "iptc")):
            return found[0]
    return None
