"""The command line: it parses, calls a stage, and shows what came of it. It decides nothing about faces."""
