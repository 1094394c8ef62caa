"""The device that training runs on, set up by Lightning Fabric."""

from __future__ import annotations

from lightning_fabric import Fabric

from understudy.devices import device_named


def launch(device: str = "auto") -> Fabric:
    """Fabric on one device: `auto` takes the best there is, else as `--device`. Raises InvalidOption."""
    found = device_named(device).torch
    fabric = Fabric(accelerator=found.type, devices=1 if found.type == "cpu" else [found.index or 0])
    fabric.launch()
    return fabric
