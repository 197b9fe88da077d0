"""netkit, each thing by a call of its own."""

from __future__ import annotations

from .netkit_demo import OneByOne as Demo

__all__ = ["Demo"]
