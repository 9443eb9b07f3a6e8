"""Files with secrets: read only when nobody else can, written so that a crash leaves old or new.

Secrets come from files (systemd credentials, container secrets), never from the environment or
the command line, where every process of the machine can read them.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from chain_adapter.errors import KeyFileError

MAX_SECRET_BYTES: Final = 64 * 1024


def check_private(path: Path, what: str) -> None:
    """Refuse a file that others than its owner and group can read. Raises `KeyFileError`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise KeyFileError(f"{what}: there is no file {path}") from None
    except OSError as problem:
        raise KeyFileError(f"{what}: {path} cannot be read: {problem.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(f"{what}: {path} is no regular file")
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise KeyFileError(
            f"{what}: every user of this machine can read or write {path} "
            f"(mode {stat.S_IMODE(found.st_mode):04o}); run: chmod 600 {path}"
        )


def read_secret(
    path: Path, what: str, *, private: bool = True, limit: int = MAX_SECRET_BYTES
) -> bytes:
    """The bytes of a secret file, `limit` at most. `private=False` skips the check of its mode.

    `what` names the secret in the error ("passphrase"). Raises `KeyFileError`.
    """
    if private:
        check_private(path, what)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise KeyFileError(f"{what}: there is no file {path}") from None
    except OSError as problem:
        raise KeyFileError(f"{what}: {path} cannot be read: {problem.strerror}") from None
    if len(content) > limit:
        raise KeyFileError(f"{what}: {path} is larger than {limit} bytes")
    return content


def read_passphrase(path: Path, *, private: bool = True) -> str:
    """The first line of a passphrase file, without its line end. Raises `KeyFileError`."""
    content = read_secret(path, "passphrase", private=private)
    try:
        text = content.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:
        raise KeyFileError(f"passphrase: {path} is not UTF-8 text") from None
    if not text:
        raise KeyFileError(f"passphrase: the first line of {path} is empty")
    return text


def write_private(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write `content` with mode 0600, durably and at once.

    The file appears whole or not at all. Without `overwrite` an existing file is never touched.
    Raises `KeyFileError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            # a link fails if the name is taken, also by a process that was quicker
            os.link(temporary, path)
            temporary.unlink()
    except FileExistsError:
        temporary.unlink(missing_ok=True)
        raise KeyFileError(f"{path} exists already and is never overwritten") from None
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise KeyFileError(f"{path} cannot be written: {problem.strerror}") from None
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a name in this directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
