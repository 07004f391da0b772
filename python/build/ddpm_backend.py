"""The build backend of `pip install .`: scikit-build-core, which builds against the LibTorch of the cache
(scripts/setup.sh) or of CMAKE_PREFIX_PATH or Torch_DIR. Only if there is none is torch a requirement of the
build: 3 GB that pip would otherwise unpack a second time."""

import os
from pathlib import Path

from scikit_build_core import build as _scikit
from scikit_build_core.build import *  # noqa: F403

TORCH = "torch==2.11.0"
HEADERS = ["nvidia-cuda-crt==13.0.88", "nvidia-cuda-cccl==13.0.85"]  # as scripts/setup.sh: for NCCL


def _libtorch_at_hand():
    if os.environ.get("Torch_DIR") or os.environ.get("CMAKE_PREFIX_PATH"):
        return True
    cache = os.environ.get("DDPM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm"
    return any(Path(cache).glob("torch-*/.complete"))


def get_requires_for_build_wheel(config_settings=None):
    return _scikit.get_requires_for_build_wheel(config_settings) + ([] if _libtorch_at_hand() else [TORCH, *HEADERS])


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if not _libtorch_at_hand():
        import torch  # in pip's environment of the build

        os.environ["CMAKE_PREFIX_PATH"] = torch.utils.cmake_prefix_path
    return _scikit.build_wheel(wheel_directory, config_settings, metadata_directory)
