"""EVM chains for chain-adapter: the plugin `evm` (chain_adapter_evm.chain:plugin)."""
