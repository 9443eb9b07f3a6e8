"""chain-adapter: docks a blockchain into an exchange-custody platform (BaaS / WAPI protocol)."""

__version__ = "0.1.0"
