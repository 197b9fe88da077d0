"""A feature of the kernel: how it is tried, what it is called, what is lost without it."""

from __future__ import annotations

import errno
import os

from netkit._diagnostics.finding import Finding
from netkit._diagnostics.kernel import Kernel
from netkit.errors import AccessError, KernelError, NetkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from netkit._namespace import Namespace

    Try = Callable[[Namespace], object]

_REFUSED = (errno.EPERM, errno.EACCES)


class Feature:
    """`attempt` uses it in a throw-away namespace and raises where the kernel refuses.

    `makes` is what loading its module makes in the machine's own namespace: then it isn't tried
    while the module is not loaded. `loader` is the program without which the kernel does not load it.
    """

    __slots__ = ("attempt", "loader", "lost", "makes", "module", "name", "option")

    def __init__(
        self, name: str, attempt: Try, option: str, module: str, lost: str, makes: str = "", loader: str = ""
    ) -> None:
        self.name = name
        self.attempt = attempt
        self.option = option
        self.module = module
        self.lost = lost
        self.makes = makes
        self.loader = loader

    def find(self, netns: Namespace, kernel: Kernel) -> Finding:
        """Try it."""
        if self.makes and kernel.would_load(self.module):
            return self._finding(
                "untried",
                f"there as a module; loading it makes {self.makes} in the machine's own namespace",
            )
        if self.loader and kernel.would_load(self.module):
            return self._finding(
                "untried", f"there as a module, which {self.loader} loads when root first uses it"
            )
        try:
            self.attempt(netns)
        except (NetkitError, OSError) as problem:
            return self._refused(problem, kernel)
        return Finding(self.name, "yes")

    def _refused(self, problem: Exception, kernel: Kernel) -> Finding:
        words = _words(problem)
        if isinstance(problem, AccessError) or getattr(problem, "errno", None) in _REFUSED:
            return self._finding("untried", f"this process may not: {words}")
        configured = kernel.option(self.option) if self.option else None
        if configured == "n":
            words += f"; {self.option} is not set in this kernel"
        elif configured == "m":
            words += self._of_the_module(kernel)
        return self._finding("no", words)

    def _of_the_module(self, kernel: Kernel) -> str:
        if kernel.is_loaded(self.module):  # by this very try, or before: the reason is another one
            return ""
        if kernel.would_load(self.module):
            return f"; {self.option}=m, but the module is not loaded: modprobe {self.module}"
        return f"; {self.option}=m, but the module {self.module} does not load here"

    def _finding(self, state: str, detail: str) -> Finding:
        assert state in ("no", "untried")
        return Finding(
            self.name,
            "no" if state == "no" else "untried",
            detail,
            option=self.option,
            module=self.module,
            lost=self.lost,
        )


def _words(problem: Exception) -> str:
    """The kernel's own words where there are any."""
    if isinstance(problem, KernelError):
        return problem.extack or os.strerror(problem.errno or 0)
    if isinstance(problem, OSError):
        return os.strerror(problem.errno or 0)
    return str(problem)
