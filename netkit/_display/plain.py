"""The picture as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netkit._display.model import Box, Device
    from netkit._display.picture import Picture


def plain(picture: Picture) -> dict[str, object]:
    """Namespaces by what they are called, and the veths between them, each end as (namespace, device)."""
    return {
        "namespaces": {box.name: _box(box) for box in picture.boxes},
        "veths": [
            {
                "ends": [[picture.box(end.box).name, end.device] for end in (wire.near, wire.far)],
                "state": wire.state,
            }
            for wire in picture.wires
        ],
    }


def _box(box: Box) -> dict[str, object]:
    return {
        "state": box.state or "there",
        "forwards": box.forwards,
        "links": {each.name: _device(each) for each in box.devices},
        "default_routes": list(box.defaults),
        "routes": list(box.routes),
        "nat": list(box.nat),
        "published": list(box.published),
    }


def _device(device: Device) -> dict[str, object]:
    return {
        "kind": device.kind,
        "state": device.state,
        "addresses": list(device.addresses),
        "master": device.master,
    }
