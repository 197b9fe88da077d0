"""An examination as text and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from netkit._diagnostics.examination import Examination
from netkit._diagnostics.finding import Finding

WIDTH = 100
PARTS = ("privileges", "features", "backends", "libraries", "tools")
_SIGN = {"yes": "yes", "no": "NO ", "untried": " ? "}
_INDENT = " " * 9


def as_json(found: Examination) -> str:
    """One object: ``netkit``, ``kernel``, ``python``, ``where``, and a list of findings per part."""
    import netkit

    content: dict[str, object] = {
        "netkit": netkit.__version__,
        "kernel": found.kernel,
        "python": found.python,
        "where": found.where,
    }
    for part in PARTS:
        content[part] = [finding.as_dict() for finding in getattr(found, part)]
    return json.dumps(content, indent=2)


def report(found: Examination) -> Iterator[str]:
    """The lines, at most 100 columns wide."""
    import netkit

    yield f"netkit {netkit.__version__}, Python {found.python}, Linux {found.kernel}"
    for part in PARTS:
        yield ""
        yield f"{_title(part, found)}:"
        findings = getattr(found, part)
        if len(findings) > 1 and all(finding.state == "untried" for finding in findings):
            yield from _all_untried(findings)
            continue
        for finding in findings:
            yield from _told(finding)
    yield ""
    yield _summary(found)


def _title(part: str, found: Examination) -> str:
    if part in ("features", "backends"):
        called = "kernel features" if part == "features" else "NAT backends"
        return f"{called} ({found.where})"
    return part


def _told(finding: Finding) -> Iterator[str]:
    first = f"  {_SIGN[finding.state]}    {finding.name}"
    if finding.state == "yes":
        yield from _wrapped(f"{first}{': ' if finding.detail else ''}{finding.detail}", _INDENT)
        return
    yield from _wrapped(f"{first}: {finding.detail}", _INDENT)
    if finding.called:
        yield from _wrapped(f"{_INDENT}it is called: {finding.called}", _INDENT + "  ")
    if finding.lost:
        yield from _wrapped(f"{_INDENT}without it: no {finding.lost}", _INDENT + "  ")


def _all_untried(findings: list[Finding]) -> Iterator[str]:
    """One reason for all of them, then their names."""
    yield from _wrapped(f"  {_SIGN['untried']}    {findings[0].detail}", _INDENT)
    names = [f"{each.name} ({each.option})" if each.option else each.name for each in findings]
    yield from _wrapped(_INDENT + ", ".join(names), _INDENT)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False)


def _summary(found: Examination) -> str:
    every = [finding for part in PARTS for finding in getattr(found, part)]
    missing = sum(finding.state == "no" for finding in every)
    untried = sum(finding.state == "untried" for finding in every)
    return f"{len(every) - missing - untried} there, {missing} missing, {untried} not tried"


def print_report(found: Examination) -> None:
    """Print it."""
    for line in report(found):
        print(line)
