"""`python -m chain_adapter.sandbox --listen HOST:PORT --state DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chain_adapter.sandbox.server import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="chain-adapter sandbox", description="the platform")
    parser.add_argument("--listen", default="127.0.0.1:9100", metavar="HOST:PORT")
    parser.add_argument("--state", required=True, type=Path, metavar="DIR")
    given = parser.parse_args()
    sys.exit(main(given.listen, given.state))
