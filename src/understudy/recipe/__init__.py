"""Whole pipelines as data: a TOML file names stages and training phases, and one command runs what is left of them.

toml_lines · stage_table · ends → reading → plan → journal → phases, running → report/
"""
