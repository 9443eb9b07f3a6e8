"""What the profile `production` refuses before the first call is made.

The platform's test environment is open to everybody: http, a printed app_id, a printed key pair.
Whoever runs with any of them lets strangers claim deposits in his name.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from chain_adapter.errors import ConfigError

TEST_APP_ID_PREFIX = "8ee3794a"

PUBLISHED_KEYS = {
    # SHA-256 of the SubjectPublicKeyInfo -> whose it is
    "df354cf8b37c7f75f427cbf5965434e1711757c2a455d92ee97b1351730c506b": (
        "the key pair printed in the platform's documents for its test environment"
    ),
    "4325868911f30edec87ef77cc8667b6d36d4a580614bd52bfb7c37d7fdb13086": (
        "the platform's key of the public test environment"
    ),
    "0e1b77366fc6188e10ee106a54182a34d553474dd121d299f5326629d10d2e77": (
        "party A of the test vectors"
    ),
    "34e62b81840398d5aa6f995b9d89d9117d072da466ad06b1c19f29143406041f": (
        "party B of the test vectors"
    ),
    "cb95bd93e5f8281c049f5183ef5e5ddcd980179edc51cd54411b3f0128ced920": (
        "the callback key of the test vectors"
    ),
}


def refuse_in_production(url: str, app_id: str, *fingerprints: str) -> None:
    """Raise `ConfigError` for what belongs to a test environment.

    `fingerprints` are those of every key in use, ours and the platform's
    (`chain_adapter.platform_api.envelope.fingerprint`).
    """
    parts = urlsplit(url)
    if parts.scheme.lower() != "https" or not parts.hostname:
        raise ConfigError(
            "platform.url: profile production speaks https only; "
            "an answer without a payload is protected by nothing but TLS"
        )
    if parts.username or parts.password:
        raise ConfigError("platform.url: holds credentials; the protocol has none in its address")
    if app_id.strip().lower().startswith(TEST_APP_ID_PREFIX):
        raise ConfigError(
            f"platform.app_id: {TEST_APP_ID_PREFIX}… is the public test environment's; "
            "anyone can act as it. Use the app_id that the platform gave to you"
        )
    for fingerprint in fingerprints:
        known = PUBLISHED_KEYS.get(fingerprint.lower())
        if known:
            raise ConfigError(
                f"platform keys: {fingerprint[:16]}… is {known}; its private half is public or "
                "of no use here. Make a pair of your own and exchange keys with the platform"
            )
    if len(set(fingerprints)) != len(fingerprints):
        raise ConfigError(
            "platform keys: private_key_file and platform_key_file hold the same key; "
            "the second must be the platform's"
        )
