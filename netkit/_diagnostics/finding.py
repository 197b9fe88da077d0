"""A finding: one thing that was looked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    State = Literal["yes", "no", "untried"]

FIELDS = ("name", "state", "detail", "option", "module", "package", "sysctl", "lost")


class Finding:
    """Whether something is there; if not, its names and what is lost without it. Frozen by custom.

    ``option`` is the kernel's (CONFIG_...), ``package`` Debian's, ``sysctl`` may be several.
    Empty texts mean that there is nothing to say.
    """

    __slots__ = FIELDS

    def __init__(
        self,
        name: str,
        state: State,
        detail: str = "",
        *,
        option: str = "",
        module: str = "",
        package: str = "",
        sysctl: str = "",
        lost: str = "",
    ) -> None:
        self.name = name
        self.state: State = state
        self.detail = detail
        self.option = option
        self.module = module
        self.package = package
        self.sysctl = sysctl
        self.lost = lost

    @property
    def called(self) -> str:
        """What to look for: kernel option, module, package, sysctl."""
        parts = [
            self.option,
            self.module and f"module {self.module}",
            self.package and f"Debian package {self.package}",
            self.sysctl and f"sysctl {self.sysctl}",
        ]
        return ", ".join(part for part in parts if part)

    def as_dict(self) -> dict[str, str]:
        """All fields, for JSON."""
        return {field: getattr(self, field) for field in FIELDS}

    @classmethod
    def from_dict(cls, fields: Mapping[str, str]) -> Finding:
        """The inverse of as_dict."""
        finding = cls(fields["name"], "untried")
        for field in FIELDS:
            setattr(finding, field, fields[field])
        return finding

    def __repr__(self) -> str:
        return f"<Finding {self.name}: {self.state}>"
