"""Benchmarks: `python run.py bench [NAMES]`. Each module has `run(quick) -> dict` of figures by name."""
