"""What is said of names: where something stands, and what was perhaps meant."""

from __future__ import annotations

from netkit._spec.value import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def place(path: str, key: str) -> str:
    """``links[3].mtu``; what is no plain word is quoted."""
    plain = key.replace("_", "").replace("-", "").isalnum()
    return f"{path}.{key}".lstrip(".") if plain else f"{path}[{key!r}]"


def called(netns: str) -> str:
    """A namespace of the plan in words."""
    return f"the namespace of bridge '{netns[1:]}'" if netns[0] == "/" else f"namespace '{netns}'"


def unknown(name: object, known: Iterable[str], wanted: str) -> str:
    """``'boxx' is no namespace: did you mean 'box'?``"""
    return f"{shown(name)} is no {wanted}: {suggestion(name, known)}"


def suggestion(name: object, known: Iterable[str]) -> str:
    """The known name that is most like this one, or what there is to choose from."""
    from difflib import get_close_matches  # slow to import, and needed for a message only

    names = [each for each in known if not each.startswith("/")]
    close = get_close_matches(name, names, 1) if isinstance(name, str) else []
    if close:
        return f"did you mean '{close[0]}'?"
    if not names:
        return "there is none"
    return f"there are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
