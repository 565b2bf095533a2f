"""Run one of the benchmarks; `sam2long bench NAME --help` lists its options."""

from __future__ import annotations

import argparse
from importlib import import_module

from sam2long.cli.errors import Parser

# A benchmark is a module here with `add_arguments(parser)` and `run(args) -> int`, imported when it is asked for:
# some need optional extras.
BENCHMARKS = {name: f"sam2long.cli.bench_{name}" for name in ("synthetic", "long", "speed")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=sorted(BENCHMARKS), help="which benchmark")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="the benchmark's own options")


def run(args: argparse.Namespace) -> int:
    benchmark = import_module(BENCHMARKS[args.name])
    parser = Parser(prog=f"sam2long bench {args.name}", description=benchmark.__doc__)
    benchmark.add_arguments(parser)
    return int(benchmark.run(parser.parse_args(args.rest)))
