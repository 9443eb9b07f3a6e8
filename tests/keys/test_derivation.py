"""BIP-32, BIP-39, BIP-44 and SLIP-10 against their published vectors and another implementation."""

from __future__ import annotations

import pytest
from eth_account import Account as EthAccount
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemonic import Mnemonic

from chain_adapter.errors import KeyFileError
from chain_adapter.keys.derivation import (
    HARDENED,
    Account,
    DerivationError,
    PrivateNode,
    PublicNode,
    account_node,
    base58check_decode,
    base58check_encode,
    ed25519_seed,
    path,
)
from chain_adapter.keys.mnemonics import new_mnemonic, seed_of
from chain_adapter.keys.schemes import SCHEMES

EthAccount.enable_unaudited_hdwallet_features()

# BIP-32, test vector 1: (path, xpub, xprv where it was easy to check twice)
SEED_1 = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
VECTOR_1 = [
    (
        (),
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
    ),
    (
        (HARDENED,),
        "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
    ),
    (
        (HARDENED, 1),
        "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ",
    ),
    (
        (HARDENED, 1, HARDENED + 2),
        "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5",
    ),
    (
        (HARDENED, 1, HARDENED + 2, 2),
        "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV",
    ),
    (
        (HARDENED, 1, HARDENED + 2, 2, 1000000000),
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
    ),
]
# BIP-32, test vector 3: a private key that begins with zero bytes keeps them
SEED_3 = bytes.fromhex(
    "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4ac"
    "ba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be"
)
VECTOR_3 = [
    (
        (),
        "xpub661MyMwAqRbcEZVB4dScxMAdx6d4nFc9nvyvH3v4gJL378CSRZiYmhRoP7mBy6gSPSCYk6SzXPTf3ND1cZAceL7SfJ1Z3GC8vBgp2epUt13",
    ),
    (
        (HARDENED,),
        "xpub68NZiKmJWnxxS6aaHmn81bvJeTESw724CRDs6HbuccFQN9Ku14VQrADWgqbhhTHBaohPX4CjNLf9fq9MYo6oDaPPLPxSb7gwQN3ih19Zm4Y",
    ),
]


def walk(seed: bytes, levels: tuple[int, ...]) -> PrivateNode:
    node = PrivateNode.master(seed)
    for level in levels:
        node = node.child(level)
    return node


@pytest.mark.parametrize(
    ("seed", "levels", "xpub"),
    [(SEED_1, *row) for row in VECTOR_1] + [(SEED_3, *row) for row in VECTOR_3],
)
def test_bip32_vectors(seed: bytes, levels: tuple[int, ...], xpub: str) -> None:
    assert walk(seed, levels).public().xpub() == xpub
    assert PublicNode.parse(xpub).xpub() == xpub


def test_bip32_private_text() -> None:
    assert PrivateNode.master(SEED_1).xprv() == (
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3"
        "TGtRBeJgk33yuGBxrMPHi"
    )


def test_public_children_are_the_private_ones() -> None:
    for levels, xpub in VECTOR_1:
        if levels and levels[-1] < HARDENED:
            parent = walk(SEED_1, levels[:-1]).public()
            assert parent.child(levels[-1]).xpub() == xpub


def test_hardened_children_need_the_private_key() -> None:
    with pytest.raises(DerivationError, match="private key"):
        PrivateNode.master(SEED_1).public().child(HARDENED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xpub",
        VECTOR_1[0][1][:-1] + "9",
        VECTOR_1[0][1].replace("M", "0", 1),
        PrivateNode.master(SEED_1).xprv(),
        base58check_encode(bytes.fromhex("0488b21e") + bytes(41) + b"\x02" + bytes(32)),
    ],
)
def test_bad_extended_keys(text: str) -> None:
    with pytest.raises(DerivationError):
        PublicNode.parse(text)


@given(st.binary(min_size=1, max_size=60))
def test_base58_round_trip(payload: bytes) -> None:
    assert base58check_decode(base58check_encode(payload)) == payload


# SLIP-0010, test vector 1 for ed25519
@pytest.mark.parametrize(
    ("levels", "private", "public"),
    [
        (
            (),
            "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
            "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
        ),
        (
            (0,),
            "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
            "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
        ),
        (
            (0, 1, 2, 2, 1000000000),
            "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
            "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
        ),
    ],
)
def test_slip10_ed25519_vectors(levels: tuple[int, ...], private: str, public: str) -> None:
    key = ed25519_seed(SEED_1, levels)
    assert key.hex() == private
    assert SCHEMES["ed25519"].public_key(key).hex() == public


# BIP-39: (words, seed with the empty passphrase)
def test_bip39_seed() -> None:
    words = "abandon " * 11 + "about"
    assert seed_of(words).hex() == (
        "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
        "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
    )
    assert seed_of("  ABANDON " + "abandon\n" * 10 + "about ") == seed_of(words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "not 0"),
        ("abandon " * 12, "checksum"),
        ("abandon " * 11, "not 11"),
        ("abandon " * 11 + "zzzz", "word 12"),
    ],
)
def test_bad_mnemonics_are_told_without_their_words(words: str, why: str) -> None:
    with pytest.raises(KeyFileError, match=why) as caught:
        seed_of(words)
    assert "abandon" not in str(caught.value)
    assert "zzzz" not in str(caught.value)


def test_bip44_known_account() -> None:
    """The key that every local EVM node funds: m/44'/60'/0'/0/0 of the well-known test words."""
    seed = seed_of("test " * 11 + "junk")
    key = SCHEMES["secp256k1"].private_keys(seed, 60, Account.HOT)(0)
    assert key.hex() == "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from(list(Account)),
    st.integers(0, 2**31 - 1),
    st.binary(min_size=16, max_size=16),
)
def test_against_another_implementation(
    coin_type: int, account: Account, index: int, entropy: bytes
) -> None:
    words = Mnemonic("english").to_mnemonic(entropy)
    theirs = EthAccount.from_mnemonic(words, account_path=path(coin_type, account, index))
    seed = seed_of(words)
    scheme = SCHEMES["secp256k1"]
    assert scheme.private_keys(seed, coin_type, account)(index) == bytes(theirs.key)
    # and the daemon's way, without any private key
    xpub = scheme.account_public_key(seed, coin_type, account)
    assert scheme.derive(xpub, index) == scheme.public_key(bytes(theirs.key))


def test_a_leaked_child_and_the_account_public_key_give_the_account() -> None:
    """Why hot, deposit and gas are separate hardened accounts: this is what BIP-32 allows."""
    from chain_adapter.keys.derivation import _ORDER, _split

    account = account_node(seed_of(new_mnemonic()), 60, Account.DEPOSIT)
    branch = account.child(0)
    child = branch.child(7)
    left, _ = _split(branch.chain_code, branch.public_key() + (7).to_bytes(4))
    stolen = (int.from_bytes(child.private_key) - int.from_bytes(left)) % _ORDER
    assert stolen.to_bytes(32) == branch.private_key


def test_new_mnemonics_differ_and_are_sound() -> None:
    made = {new_mnemonic(b"dice") for _ in range(20)}
    assert len(made) == 20
    assert all(len(words.split()) == 24 and len(seed_of(words)) == 64 for words in made)


def test_repr_hides_keys() -> None:
    node = PrivateNode.master(SEED_1)
    assert node.private_key.hex() not in repr(node)
    assert repr(node.private_key) not in repr(node)
