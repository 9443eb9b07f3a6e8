"""The books: SQLAlchemy Core on SQLite or PostgreSQL. Functions over a `Tx`, run by `Store`."""
