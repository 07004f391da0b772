"""What the read-back tests share: the programs of others that scripts/test.sh installs into the cache folder."""

import os
import pathlib
import sys

CACHE = os.environ.get("DDPM_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ddpm")
PYTHON = os.path.join(CACHE, "checks", "bin", "python")
SKIPPED = 77
TINY = pathlib.Path(__file__).resolve().parent.parent / "tiny.toml"


def skip_or_start_over(missing):
    """Where an import failed: begins again with the Python that has it, if it is there and was not tried yet."""
    if os.path.exists(PYTHON) and "DDPM_CHECKS" not in os.environ:
        os.execve(PYTHON, [PYTHON, *sys.argv], {**os.environ, "DDPM_CHECKS": "1"})
    print(f"skipped: {missing} is not installed (scripts/test.sh installs it)")
    return SKIPPED
