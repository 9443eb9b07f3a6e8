"""Carries out a Dockerfile's lines in chroots, where no Docker runs.

FROM unpacks the base archive, COPY copies (what .dockerignore lets through), RUN runs in the
chroot with its own mounts and processes; ENV, USER, WORKDIR, VOLUME, ENTRYPOINT are kept for the
end. Then each `--try` runs the entry point as that user: root file system read-only, no network,
no privileges. An instruction that is not known here is an error, never skipped.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

NO_EFFECT_HERE = {"EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "LABEL", "CMD"}
STEP_TIMEOUT_S = 600
TRY_TIMEOUT_S = 60
HOST_CERTIFICATES = Path("/etc/ssl/certs")


class StepFailed(Exception):
    """A line of the Dockerfile, or a try of the result, did not do what it should."""


@dataclass(slots=True)
class Stage:
    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    user: str = "0:0"
    folder: str = "/"
    volumes: list[str] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)


def lines_of(dockerfile: Path) -> list[tuple[int, str, str]]:
    """(line number, instruction, the rest), with continued lines joined and comments gone."""
    found: list[tuple[int, str, str]] = []
    joined, start = "", 0
    for number, raw in enumerate(dockerfile.read_text().splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = start or number
        joined += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        instruction, _, rest = joined.partition(" ")
        found.append((start, instruction.upper(), rest.strip()))
        joined, start = "", 0
    return found


def let_through(ignore_file: Path, name: str) -> bool:
    """Whether .dockerignore lets the file `name` (relative) go to the builder: last match wins."""
    ignored = False
    for raw in ignore_file.read_text().splitlines():
        pattern = raw.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        parts = Path(name).parts
        for length in range(1, len(parts) + 1):
            path = "/".join(parts[:length])
            anywhere = pattern.removeprefix("**/")
            if fnmatch.fnmatch(path, pattern) or (
                anywhere != pattern and fnmatch.fnmatch(parts[length - 1], anywhere)
            ):
                ignored = not keep
                break
    return not ignored


def copy(source: Path, target: Path, context: Path | None) -> None:
    """One source of a COPY; `context` is the build context, None when from another stage."""
    if context is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)
        return
    chosen = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    ignore = context / ".dockerignore"
    for path in chosen:
        if not let_through(ignore, str(path.relative_to(context))):
            continue
        goal = target if path == source else target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, goal)


def in_chroot(stage: Stage, command: list[str], *, sealed: bool, timeout_s: float) -> int:
    """Runs `command` in the stage's root. `sealed`: as its user, read-only, without network."""
    root = shlex.quote(str(stage.root))
    mounts = [
        "mount --make-rprivate /",
        f"mount --bind {root} {root}",
        f"mount -t proc -o nosuid,nodev,noexec proc {root}/proc",
    ]
    if sealed:
        volumes = [f"{root}{shlex.quote(volume)}" for volume in stage.volumes]
        mounts += [
            f"mount -o bind,remount,ro {root}",
            f"mount -t tmpfs -o nosuid,nodev tmpfs {root}/tmp",
            *(f"mount -t tmpfs -o uid={stage.user.split(':')[0]},mode=0700 v {v}" for v in volumes),
        ]
    else:
        # The registry is reached as this machine reaches it: its certificates, its names.
        mounts += [
            f"mount --bind /etc/resolv.conf {root}/etc/resolv.conf",
            f"mount --bind {HOST_CERTIFICATES} {root}{HOST_CERTIFICATES}",
        ]
    jump = ["chroot", str(stage.root)]
    if sealed:
        jump = ["setpriv", "--no-new-privs", "chroot", f"--userspec={stage.user}", str(stage.root)]
    folder = f'cd {shlex.quote(stage.folder)} && exec "$@"'
    script = " && ".join(
        [*mounts, f'exec {shlex.join(jump)} /bin/sh -c {shlex.quote(folder)} sh "$@"']
    )
    spaces = ["--mount", "--pid", "--fork", "--kill-child", *(["--net"] if sealed else [])]
    environment = dict(stage.env)
    if not sealed:
        environment |= {
            name: value
            for name, value in os.environ.items()
            if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}
            or name in {"PIP_INDEX_URL", "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE"}
        }
    done = subprocess.run(
        ["unshare", *spaces, "sh", "-c", script, "sh", *command],
        env=environment | {"PATH": stage.env["PATH"] + ":/usr/sbin:/sbin"},
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        check=False,
    )
    return done.returncode


def build(dockerfile: Path, base: Path, work: Path) -> Stage:
    """The last stage, with everything done that the Dockerfile says."""
    context = dockerfile.resolve().parent
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for number, instruction, rest in lines_of(dockerfile):
        print(f"container: {dockerfile.name}:{number}: {instruction} {rest[:80]}", file=sys.stderr)
        if instruction == "FROM":
            name = rest.split()[2] if " as " in rest.lower() else f"stage-{len(stages)}"
            stage = stages[name] = Stage(work / name)
            stage.root.mkdir()
            subprocess.run(["tar", "-C", str(stage.root), "-xf", str(base)], check=True)
            (stage.root / "etc/resolv.conf").touch()
            continue
        if stage is None:
            raise StepFailed(f"{dockerfile.name}:{number}: {instruction} before FROM")
        if instruction == "COPY":
            words = rest.split()
            origin = None
            if words[0].startswith("--from="):
                origin = stages[words.pop(0).removeprefix("--from=")]
            *sources, goal = words
            for source in sources:
                found = (origin.root if origin else context) / source.lstrip("/")
                target = stage.root / goal.lstrip("/")
                copy(
                    found,
                    target / found.name if goal.endswith("/") else target,
                    None if origin else context,
                )
        elif instruction == "RUN":
            if in_chroot(stage, ["sh", "-c", rest], sealed=False, timeout_s=STEP_TIMEOUT_S):
                raise StepFailed(f"{dockerfile.name}:{number}: RUN {rest} failed")
        elif instruction == "ENV":
            name, _, value = rest.partition("=")
            stage.env[name] = value
        elif instruction == "USER":
            stage.user = rest
        elif instruction == "WORKDIR":
            stage.folder = rest
        elif instruction == "VOLUME":
            stage.volumes.append(rest)
        elif instruction == "ENTRYPOINT":
            stage.entry = json.loads(rest)
        elif instruction not in NO_EFFECT_HERE:
            raise StepFailed(f"{dockerfile.name}:{number}: {instruction} is not known here")
    if stage is None:
        raise StepFailed(f"{dockerfile.name}: no FROM")
    return stage


def try_out(stage: Stage, tries: list[str]) -> None:
    """Runs the entry point, and proves that it ran sealed: each thing forbidden must fail."""
    if stage.user.split(":")[0] in {"0", "root"}:
        raise StepFailed("the image's user is root")
    forbidden = {
        "write to the root file system": "touch /opt/chain-adapter/written",
        "be root": "test $(id -u) = 0",
        "reach a network": "test $(wc -l < /proc/net/route) -gt 1",
    }
    for what, shell in forbidden.items():
        if not in_chroot(
            stage, ["sh", "-c", f"{shell} 2>/dev/null"], sealed=True, timeout_s=TRY_TIMEOUT_S
        ):
            raise StepFailed(f"the program could {what}")
    for volume in stage.volumes:
        if in_chroot(stage, ["touch", f"{volume}/written"], sealed=True, timeout_s=TRY_TIMEOUT_S):
            raise StepFailed(f"the program cannot write to {volume}")
    for words in tries:
        command = [*stage.entry, *shlex.split(words)]
        print(f"container: read-only, user {stage.user}: {shlex.join(command)}", file=sys.stderr)
        if in_chroot(stage, command, sealed=True, timeout_s=TRY_TIMEOUT_S):
            raise StepFailed(f"{shlex.join(command)} failed")


def main() -> int:
    parser = argparse.ArgumentParser(description="carries out a Dockerfile in chroots")
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("--base", type=Path, required=True, help="tar archive for every FROM")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for the roots")
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="ARGUMENTS")
    options = parser.parse_args()
    try:
        try_out(build(options.dockerfile, options.base, options.work), options.tries)
    except (StepFailed, subprocess.SubprocessError, OSError) as error:
        print(f"container: {error}", file=sys.stderr)
        return 1
    print("container: built and tried, as its own user on a read-only root file system")
    return 0


if __name__ == "__main__":
    sys.exit(main())
