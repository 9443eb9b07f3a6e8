"""The demo: a local chain, the sandbox and the daemon as processes, and one round of money.

`parts` starts and talks to them, `scenario` plays the round, `truth` compares chain, platform and
books, `report` prints.
"""
