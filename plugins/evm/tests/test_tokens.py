"""Tokens: false ones, proofs by balance, a coin that is also a token."""

from __future__ import annotations

import pytest

from chain_adapter.chain import Asset, BlockRef, Proof, Rejected, Unavailable
from chain_adapter_evm.chain import EvmChain
from chain_adapter_evm.devnet import AnvilDevnet, _call
from plugins.evm.tests.parts import (
    Opener,
    Relay,
    key_of,
    read,
    stranger,
    transfers,
    wallet_of,
    watching,
)

US, THEM = stranger(1), stranger(2)


async def test_false_tokens(devnet: AnvilDevnet, opener: Opener) -> None:
    """Look-alikes, calldata without movement, events of strangers, mints, zero, to oneself."""
    bad, liar = devnet.contracts["BadToken"], devnet.contracts["Liar"]
    token = devnet.contracts["TestUSDT"]
    mint = _call("mint(address,uint256)", key_of(US), 50)
    say = _call("say(address,address,uint256)", key_of(THEM), key_of(US), 51)
    zero = _call("transferFrom(address,address,uint256)", key_of(THEM), key_of(US), 0)
    transfer = _call("transfer(address,uint256)", key_of(US), 52)
    await devnet.send(token, 0, mint)
    await devnet.send(liar, 0, say)
    await devnet.send(token, 0, zero)
    await devnet.send(bad, 0, transfer)
    await devnet.send(THEM, 0, transfer)
    await devnet.pay("USDT", devnet.address, 3)
    await devnet.pay("ETH", devnet.address, 4)
    await devnet.mine()
    assets = {**devnet.assets, "BAD": Asset("BAD", bad, 6)}
    watch = watching(US, devnet.address)
    chain = opener(devnet.url, assets)
    assert transfers(await read(chain, watch, after=BlockRef(1, ""))) == []
    minting = opener(devnet.url, assets, mints=True)
    assert transfers(await read(minting, watch, after=BlockRef(1, ""))) == [("USDT", "log/0", 50)]
    listed = opener(devnet.url, {**assets, "LIE": Asset("LIE", liar, 6)})
    (block,) = await read(listed, watch, after=BlockRef(1, ""))
    assert [(t.asset, t.amount) for t in block.transfers] == [("LIE", 51)]


async def test_balance_proof(devnet: AnvilDevnet, relay: Relay, opener: Opener) -> None:
    """A token that keeps a part is refuted, one that rebases too; a plain one is proven."""
    fee_token, token = devnet.contracts["FeeToken"], devnet.contracts["TestUSDT"]

    def assets(proof: Proof) -> dict[str, Asset]:
        return {
            "ETH": Asset("ETH", None, 18),
            "USDT": Asset("USDT", token, 6, proof),
            "FEE": Asset("FEE", fee_token, 6, proof),
        }

    await devnet.send(fee_token, 0, _call("transfer(address,uint256)", key_of(US), 1000))
    await devnet.pay("USDT", US, 1000)
    await devnet.pay("USDT", THEM, 5)
    await devnet.send(token, 0, _call("rebase(address,uint256)", key_of(THEM), 4))
    await devnet.mine()
    watch = watching(US, THEM)

    async def proofs(url: str, proof: Proof) -> dict[tuple[str, str], bool | None]:
        blocks = await read(opener(url, assets(proof)), watch, after=BlockRef(1, ""))
        return {(t.asset, t.to): t.proof for block in blocks for t in block.transfers}

    made = {("FEE", US): False, ("USDT", US): True, ("USDT", THEM): False}
    assert await proofs(devnet.url, Proof.WHEN_POSSIBLE) == made
    assert await proofs(devnet.url, Proof.REQUIRED) == made
    assert await proofs(devnet.url, Proof.OFF) == dict.fromkeys(made)
    # a node that has no old state proves nothing, whatever is demanded: the core decides
    relay.error("eth_call", -32000, "missing trie node 0xabc")
    assert await proofs(relay.url, Proof.REQUIRED) == dict.fromkeys(made)
    # at the tip every node has it: an error there is not an answer
    chain = opener(relay.url, assets(Proof.WHEN_POSSIBLE))
    del relay.refuse["eth_call"]
    await chain.check()
    relay.error("eth_call", -32000, "header not found")
    with pytest.raises(Unavailable, match="no balance proof at the tip"):
        await read(chain, watch, after=BlockRef(1, ""))
    await devnet.mine(20)
    await chain.head()
    (block,) = await read(chain, watch, after=BlockRef(1, ""), last=2)
    assert {t.proof for t in block.transfers} == {None}


async def test_proof_by_height_where_hashes_are_not_taken(
    devnet: AnvilDevnet, relay: Relay, opener: Opener
) -> None:
    await devnet.pay("USDT", US, 7)
    await devnet.mine()
    relay.bend["eth_call"] = lambda params, answer: (
        {"error": {"code": -32602, "message": "invalid argument 1: cannot unmarshal object"}}
        if isinstance(params[1], dict)
        else answer
    )
    (block,) = await read(opener(relay.url, devnet.assets), watching(US), after=BlockRef(1, ""))
    assert [t.proof for t in block.transfers] == [True]


async def test_proof_counts_what_left_in_the_block(devnet: AnvilDevnet, chain: EvmChain) -> None:
    """In and out within one block: the difference is what the logs leave over."""
    wallet = wallet_of(b"\x05" * 32)
    await devnet.rpc("anvil_setBalance", wallet.address, hex(10**18))
    await devnet.rpc("anvil_impersonateAccount", wallet.address)
    await devnet.pay("USDT", wallet.address, 100)
    await devnet.mine()
    data = "0x" + _call("transfer(address,uint256)", key_of(THEM), 70).hex()
    await devnet.pay("USDT", wallet.address, 10)
    await devnet.rpc(
        "eth_sendTransaction",
        {
            "from": wallet.address,
            "to": devnet.contracts["TestUSDT"],
            "data": data,
            "gas": "0x20000",
        },
    )
    await devnet.mine()
    block = (await read(chain, watching(wallet.address)))[-1]
    assert [(t.amount, t.proof) for t in block.transfers] == [(10, True)]


async def test_native_contract_counts_once(devnet: AnvilDevnet, opener: Opener) -> None:
    """A coin that is also a token: the log stands for the movement, however else it shows."""
    token = devnet.contracts["TestUSDT"]
    coin = {"ETH": Asset("ETH", None, 18)}
    chain = opener(devnet.url, coin, native_contract=token.lower())
    await devnet.send(token, 0, _call("transfer(address,uint256)", key_of(US), 7))
    await devnet.pay("ETH", US, 8)
    await devnet.mine()
    (block,) = await read(chain, watching(US), after=BlockRef(1, ""))
    assert transfers([block]) == [("ETH", "log/0", 7), ("ETH", "value", 8)]
    with pytest.raises(Rejected, match="native_contract"):
        opener(devnet.url, devnet.assets, native_contract=token)
