"""A TRON network in this process, for demo and tests.

`schema` knows the messages, `engine` runs contracts (pyrevm), `state` holds accounts and carries
out transactions, `ledger` makes blocks and forks, `views` tells them as a node does, `http` serves
that, `devnet` is what demo and conformance suite hold in their hands.
"""
