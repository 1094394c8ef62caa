"""Laying a predicted face back over the plate. The functions are in `compose`, which needs OpenCV; options do not."""

from understudy.compositing.options import ColorTransfer, MaskMode, MergeMode, MergeOptions

__all__ = ["ColorTransfer", "MaskMode", "MergeMode", "MergeOptions"]
