"""Whole lives of a page, drawn from a seed: runs, changes, faults and cuts, and at the end nothing is lost.

    python -m tests.simulation --seed 123       # one life, with every call and change
    python -m tests.simulation --seeds 5000     # many lives

`warehouse` models the merge of a destination, `changes` is what happens to a page, `world` lives.
"""
