"""Measuring: speed and memory beside SAM 2's, long videos, and what the tree buys on synthetic clips.

In come a model and a few numbers; out go figures ready for JSON, tables and plots. Nothing here reads the command line:
`cli.bench_*` does. Start with `speed_run`, `long_run` or `synthetic_track`; the other modules of each name serve it.
"""
