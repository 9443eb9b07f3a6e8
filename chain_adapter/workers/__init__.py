"""The loops that act: watcher, payer, courier, registrar. Decisions are made in `core`."""
