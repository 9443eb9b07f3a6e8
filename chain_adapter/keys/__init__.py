"""Everything that touches a key: keystore, derivation, schemes, journal, signer, policy.

Only the signer opens a keystore. The daemon holds account public keys and talks to the `Signer`
port; what it may ask for is an effect with its intent and its warrant, never a bare digest.
"""
