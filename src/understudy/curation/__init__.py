"""Choosing faces: what they are like, which to keep, and in which order to look at them."""
