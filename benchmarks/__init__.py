"""Measurements beside others' tools, one module each: `python -m benchmarks [NAME ...]`.

A module of this folder that defines `run(options)`, or a `run` that can do without, is a benchmark.
It returns a mapping from names to figures, which `benchmarks/results.json` and
`docs/performance.md` then hold: a number, a text, a list of them, or a mapping of mappings, which
is shown as a table of columns. Plots go into the folder `options.images`, if there is one.
"""
