"""The command ddpm of the wheel: starts the program with the LibTorch of the package torch."""

import importlib.util
import os
import sys
from pathlib import Path


def _library_folders():
    """LibTorch's folders, if torch does not lie beside this package (there the program finds it)."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("ddpm: the package torch is not installed; run: pip install torch")
    torch = Path(spec.submodule_search_locations[0])
    if torch.parent == Path(__file__).resolve().parent.parent:
        return []
    return [torch / "lib", *sorted((torch.parent / "nvidia").glob("*/lib"))]


def main():
    program = Path(__file__).resolve().parent / "bin" / "ddpm"
    folders = [str(folder) for folder in _library_folders()]
    if folders:
        before = os.environ.get("LD_LIBRARY_PATH")
        os.environ["LD_LIBRARY_PATH"] = ":".join(folders + ([before] if before else []))
    os.execv(program, ["ddpm", *sys.argv[1:]])


if __name__ == "__main__":
    main()
