"""Live the lives of many seeds, or one with every call: see the package."""

from __future__ import annotations

import argparse
from collections import Counter

from .world import World


def main() -> None:
    """Run what the command line asks for; ends with 1 when a life failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one, with a trace")
    parser.add_argument("--seeds", type=int, default=300, help="how many to live")
    parser.add_argument("--first", type=int, default=0, help="where to begin")
    options = parser.parse_args()
    if options.seed is not None:
        World(options.seed, trace=print).live()
        return
    tally: Counter[str] = Counter()
    failed = []
    for seed in range(options.first, options.first + options.seeds):
        world = World(seed)
        try:
            world.live()
        except Exception as error:  # noqa: BLE001  # every seed is to be tried
            failed.append(seed)
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)  # noqa: T201
        tally.update(world.tally)
    print(f"{options.seeds} seeds, {len(failed)} failed: {failed}; {dict(tally)}")  # noqa: T201
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
