"""The operator's window: what the books and the daemon say, as health, metrics and a page."""
