"""Batches: which faces come, and how they are varied."""
