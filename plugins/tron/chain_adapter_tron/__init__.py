"""TRON for chain-adapter: TRX, TRC-20, TRC-10, memos. `chain.plugin` is the entry point."""
