"""Loads libddpm.so, which registers torch.classes.ddpm."""

import ctypes
import os
from pathlib import Path

import torch


def load_library():
    """Loads the library once. DDPM_LIBRARY names another file, such as that of a build folder."""
    beside = Path(__file__).parent / "lib" / "libddpm.so"
    path = Path(os.environ.get("DDPM_LIBRARY") or beside)
    if not path.exists():
        found = sorted(path.parent.glob(path.name + ".*"))
        if not found:
            raise ImportError(f"{path} does not exist; install the package, or set DDPM_LIBRARY")
        path = found[0]
    try:
        # Not by torch.classes.load_library, which shows all of its symbols to other libraries.
        ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        raise ImportError(
            f"{path} does not load with torch {torch.__version__}; it is made for the version that "
            f"the package requires ({error})"
        ) from None
    return torch.classes.ddpm.Pipeline
