"""The network families, by the name that people type."""

from __future__ import annotations

from understudy.networks.quick96 import Quick96

FAMILIES = {
    "quick96": Quick96,
}
