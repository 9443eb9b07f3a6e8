"""The platform on one machine, for development and tests. Not for production: it moves no money."""
