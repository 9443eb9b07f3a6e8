"""Speed as ratios, measured interleaved in one run: `make bench`, `python -m benchmarks --help`.

`workload` makes blocks like mainnet's from a seed, `replay` serves them, `floors` are what nobody
can undercut, `contenders` run in processes of their own, `suites` pair them.
"""
