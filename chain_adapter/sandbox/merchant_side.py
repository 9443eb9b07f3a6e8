"""The merchant side of the sandbox in one piece: settings, keys, API, callbacks, control.

It does nothing, and costs nothing, until somebody sets it up or calls `/api/v2`.
"""

from __future__ import annotations

import base64
import functools
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.callbacks import UuWalletPlatform, WaasV2, load_private_key, load_public_key
from chain_adapter.sandbox.callbacks_out import CallbacksOut
from chain_adapter.sandbox.feed import Feed
from chain_adapter.sandbox.ledger import Books, Ledger
from chain_adapter.sandbox.merchant_api import MerchantApi
from chain_adapter.sandbox.merchant_books import (
    Settings,
    get_value,
    hurry,
    load_settings,
    make_tables,
    put_value,
    store_settings,
)
from chain_adapter.sandbox.merchant_control import MerchantControl

_UU_KEY_BITS = 1024  # what that dialect has


class MerchantSide:
    """Made with the open books; `start` and `stop` around serving."""

    def __init__(self, ledger: Ledger, state: Path, own_app_id: str) -> None:
        self.settings = Settings()
        self.feed = Feed()
        self._ledger = ledger
        self._state = state
        self._own_app_id = own_app_id
        self._uu_key = ""
        self._active = False
        self._out = CallbacksOut(ledger, self, self.feed.changed)

    @property
    def app_id(self) -> str:
        """The merchant's."""
        return self.settings.app_id or self._own_app_id

    async def start(self) -> None:
        """Take up what an earlier process left."""

        def unit(books: Books) -> tuple[Settings, bool, str]:
            make_tables(books)
            settings, were_set = load_settings(books)
            return settings, were_set, get_value(books, "uuwallet_private_key") or ""

        self.settings, self._active, self._uu_key = await self._ledger.run(unit)
        self._out.start()

    async def stop(self) -> None:
        await self._out.stop()
        self.feed.close()

    def api_routes(self) -> list[web.RouteDef]:
        """What the merchant calls."""
        handle = MerchantApi(self._ledger, self).handle
        path = "/api/v2/{path:.*}"
        return [web.post(path, handle), web.get(path, handle)]

    def control_routes(self) -> list[web.RouteDef]:
        """What belongs to the control API, and is served on a loopback address only."""
        return MerchantControl(self._ledger, self).routes()

    @web.middleware
    async def middleware(
        self,
        request: web.Request,
        handler: web.Handler,  # type: ignore[name-defined]
    ) -> web.StreamResponse:
        """After every call that may have changed the books: look whether a callback is due."""
        answer: web.StreamResponse = await handler(request)
        if request.method != "GET" and not request.path.startswith("/api/v2/"):
            self.wake()
        return answer

    def wake(self) -> None:
        """There may be something to send, or to show."""
        if self._active:
            self._out.wake()
        self.feed.changed()

    # --- settings and keys

    async def set(self, settings: Settings) -> None:
        """In force, and stored, when this returns."""
        if settings.public_key:
            load_public_key(settings.public_key.encode())

        before = self.settings.speed

        def unit(books: Books) -> tuple[Settings, str]:
            if settings.speed != before:
                hurry(books, before / settings.speed)
            key = get_value(books, "uuwallet_private_key")
            if key is None:
                key = _new_key()
                put_value(books, "uuwallet_private_key", key)
            return store_settings(books, settings), key

        self.settings, self._uu_key = await self._ledger.run(unit)
        self._active = True
        self._dialect.cache_clear()
        self._uuwallet.cache_clear()
        await self._out.stop()  # with it go calls to URLs that are no longer the merchant's
        self._out.start()

    def dialect(self) -> WaasV2:
        """The platform's end of WaaS V2."""
        return self._dialect(self.app_id, self.settings.public_key)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a sandbox lives as long as its process
    def _dialect(self, app_id: str, public_key: str) -> WaasV2:
        private = load_private_key((self._state / "platform_private.pem").read_bytes())
        text = public_key.encode() or (self._state / "party_a_public.pem").read_bytes()
        return WaasV2(app_id, private, load_public_key(text))

    def uuwallet(self) -> UuWalletPlatform:
        """The platform's end of UUWallet."""
        return self._uuwallet(self.settings.api_key, self._uu_key)

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _uuwallet(self, api_key: str, private: str) -> UuWalletPlatform:
        return UuWalletPlatform(api_key, load_private_key(private.encode()))

    def public_keys(self) -> dict[str, str]:
        """What a merchant has to know of the platform, as Base64 of SubjectPublicKeyInfo."""
        platform = load_public_key((self._state / "platform_public.pem").read_bytes())
        found = {"platform_public_key": _spki(platform)}
        if self._uu_key:
            key = load_private_key(self._uu_key.encode())
            found["uuwallet_public_key"] = _spki(key.public_key())
        return found


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_UU_KEY_BITS)
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return base64.b64encode(der).decode("ascii")


def _spki(key: rsa.RSAPublicKey) -> str:
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(der).decode("ascii")
