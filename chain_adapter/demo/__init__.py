"""The demo: a local chain, the sandbox and the daemon as processes of their own, one round of money.

`parts` starts and talks to them, `scenario` plays the round, `truth` compares chain, platform and
books, `report` prints.
"""
