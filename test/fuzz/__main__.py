"""Fuzzing by coverage, with atheris: ``make fuzz SECONDS=60 TARGET=decoder``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import atheris
from fuzz.bounds import bounded

with atheris.instrument_imports(include=["imageserver"]):
    from fuzz.seeds import streams
    from fuzz.targets import TARGETS

LONGEST_BYTES = 8_192


def fuzz(name: str, seconds: str, directory: Path) -> None:
    """Fuzz one target; ends the process."""
    target = TARGETS[name]
    corpus = directory / name
    corpus.mkdir(parents=True, exist_ok=True)
    for stream in streams():
        for data in target.inputs(stream):
            if len(data) <= LONGEST_BYTES:
                seed = corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()
                seed.write_bytes(data)
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST_BYTES,
        "timeout": 20,
        "rss_limit_mb": 1024,
        "artifact_prefix": f"{directory}/{name}-",
        "print_final_stats": 1,
    }
    arguments = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], bounded(target.run))
    atheris.Fuzz()


def main(directory: str, seconds: str, name: str = "") -> None:
    """Fuzz a target, or all in turn; findings are files in the directory."""
    if name:
        fuzz(name, seconds, Path(directory))
    failed = []
    for each in TARGETS:
        print(f"--- {each}", flush=True)
        command = [sys.executable, "-m", "fuzz", directory, seconds, each]
        if subprocess.run(command, check=False).returncode:
            failed.append(each)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
