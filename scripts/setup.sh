#!/usr/bin/env bash
# Installs the missing dependencies of a build of ddpm. Safe to run again.
#
#   scripts/setup.sh [--cuda | --no-cuda] [--no-packages]
#
#   1. Debian/Ubuntu packages: the compiler, CMake, Ninja and the small libraries, by apt-get (as root or
#      through sudo). On other systems the script names the libraries, and CMake checks them.
#   2. LibTorch: the PyPI wheel torch==2.11.0 and numpy, in a virtual environment in the cache folder, about
#      3 GB to download and 5 GB on disk. Skipped if Torch_DIR or CMAKE_PREFIX_PATH leads to a LibTorch.
#   3. nvcc, only with --cuda, or if there is a GPU but no nvcc: from PyPI into the cache folder, 100 MB.
#
#   --cuda         fetch nvcc 13.0 even if there is no GPU, or another nvcc
#   --no-cuda      never fetch nvcc
#   --no-packages  install no system packages
#   --help         show this text
#
# Environment: DDPM_CACHE, the cache folder (default: $XDG_CACHE_HOME/ddpm, else ~/.cache/ddpm).

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

readonly cache="${DDPM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ddpm}"
readonly torch_version=2.11.0
readonly cuda_version=13.0
readonly header_wheels=(nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)
readonly cuda_wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
  "${header_wheels[@]}")
readonly packages=(g++ cmake ninja-build ccache libcli11-dev libspdlog-dev libfmt-dev libstb-dev
  libtomlplusplus-dev nlohmann-json3-dev libjpeg-dev libwebp-dev libzip-dev liblmdb-dev libssl-dev zlib1g-dev libjs-chart.js libcpp-httplib-dev libgtest-dev libbenchmark-dev
  python3 python3-venv)

with_cuda=auto
with_packages=yes
for argument in "$@"; do
  case $argument in
    --cuda) with_cuda=yes ;;
    --no-cuda) with_cuda=no ;;
    --no-packages) with_packages=no ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$argument'; see scripts/setup.sh --help" ;;
  esac
done

# 1. System packages

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

# Prints the command that gives root: nothing for root, sudo if it works. A sudo that asks for a password is
# used only on a terminal.
root_command() {
  if [[ $(id -u) == 0 ]]; then
    echo ""
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }; then
    echo sudo
  else
    return 1
  fi
}

apt_install() {
  local as_root=() apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  [[ -z $1 ]] || as_root=("$1")
  shift
  # Lists that cannot be refreshed may still be sufficient; if not, the installation fails with a message.
  "${as_root[@]}" "${apt[@]}" update || true
  "${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "$@"
}

set_up_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "packages: no apt-get on this system, nothing is installed; required are a C++20 compiler, CMake >= 3.25," \
      "Ninja, Python >= 3.10 with venv, CLI11, spdlog, fmt, stb, toml++, nlohmann-json, libjpeg," \
      "libwebp, libzip, OpenSSL, zlib, cpp-httplib, GoogleTest; for ddpm report also Chart.js (chart.min.js)"
    return
  fi
  local missing as_root
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    say "packages: all ${#packages[@]} are installed"
    return
  fi
  as_root=$(root_command) || fail "packages are missing, and you are neither root nor able to use sudo; ask an" \
    "administrator to run: apt-get install --no-install-recommends ${missing[*]}" \
    "(or, if the libraries are installed elsewhere, use --no-packages)"
  logged packages "packages: installing ${missing[*]}" apt_install "$as_root" "${missing[@]}"
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]} == 0)) || fail "packages: still missing after the installation: ${missing[*]}"
}

check_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*//p') || true
  [[ -n $version ]] || fail "cmake is not on PATH; 3.25 or newer is needed"
  if [[ $(printf '%s\n' 3.25 "$version" | sort -V | head -n 1) != 3.25 ]]; then
    fail "$(command -v cmake) is version $version, but 3.25 or newer is needed (python3 -m pip install cmake has one)"
  fi
}

# 2. LibTorch

# The LibTorch that Torch_DIR or CMAKE_PREFIX_PATH leads to, if any; the same search as cmake/FindLibTorch.cmake.
own_libtorch() {
  local prefix place prefixes=()
  IFS=:\; read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  [[ -z ${Torch_DIR:-} ]] || prefixes=("$Torch_DIR/.." "${prefixes[@]}")
  for prefix in "${prefixes[@]}"; do
    for place in "$prefix" "$prefix/../.."; do
      if [[ -e $place/include/torch/csrc/api/include/torch/torch.h ]]; then
        (cd "$place" && pwd)
        return
      fi
    done
  done
}

# A python3 that can create virtual environments and for which a torch wheel exists.
find_python() {
  local candidate
  for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$candidate" >/dev/null && "$candidate" -I -c \
      'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

torch_works() {
  [[ $("$1/bin/python" -I -c 'import numpy, torch; print(torch.__version__.split("+")[0])' 2>/dev/null) == "$torch_version" ]]
}

install_torch() {
  local python=$1 venv=$2
  # An interrupted installation has no stamp, so the next run starts it again.
  "$python" -I -m venv --clear "$venv" &&
    "$venv/bin/python" -I -m pip install --progress-bar off "torch==$torch_version" numpy &&
    { torch_works "$venv" || { echo "'import torch' in $venv does not give $torch_version" && false; }; }
}

set_up_torch() {
  local own python venv="$cache/torch-$torch_version"
  own=$(own_libtorch)
  if [[ -n $own ]]; then
    say "LibTorch: yours, $own (from Torch_DIR or CMAKE_PREFIX_PATH)"
    return
  fi
  # The stamp is written last. An environment that works but has none is checked once and gets one.
  if [[ ! -e $venv/.complete ]] && torch_works "$venv"; then
    echo "torch $torch_version" >"$venv/.complete"
  fi
  if [[ -e $venv/.complete && -e $venv/bin/python ]]; then
    say "LibTorch: $torch_version is in $venv"
    set_up_runtime_headers "$venv"
    return
  fi
  python=$(find_python) || fail "no Python 3.10 to 3.14 with the venv module was found; on Debian and Ubuntu:" \
    "apt-get install python3-venv"
  logged torch "LibTorch: installing torch $torch_version (about 3 GB to download) into $venv" \
    install_torch "$python" "$venv"
  echo "torch $torch_version" >"$venv/.complete"
  set_up_runtime_headers "$venv"
}

# The CUDA runtime's wheel leaves out headers that its own include; NCCL's declarations need them.
set_up_runtime_headers() {
  local include
  for include in "$1"/lib/python3*/site-packages/nvidia/cu13/include; do
    if [[ -e $include/cuda_runtime.h && ! (-e $include/crt/host_config.h && -e $include/cccl/nv/target) ]]; then
      (logged headers "LibTorch: adding the CUDA runtime's remaining headers" \
        "$1/bin/python" -I -m pip install --progress-bar off --no-deps "${header_wheels[@]}") ||
        say "without them the program is built without NCCL"
    fi
  done
}

# 3. nvcc

# Succeeds if cmake/Cuda.cmake would find an nvcc of the wheel's CUDA major version.
nvcc_present() {
  local nvcc
  for nvcc in "${CUDACXX:-}" nvcc "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" /usr/local/cuda/bin/nvcc; do
    if [[ -n $nvcc ]] && "$nvcc" --version 2>/dev/null | grep -q "release ${cuda_version%.*}\."; then
      return
    fi
  done
  return 1
}

# Arranges the wheels as a toolkit: they contain libcudart.so.13 but not libcudart.so, which linkers need.
install_nvcc() {
  local python=$1 toolkit=$2 partial="$2.partial"
  local unpacked="$partial/wheels/nvidia/cu13"
  rm -rf "$partial" "$toolkit" &&
    "$python" -I -m venv "$partial/venv" &&
    "$partial/venv/bin/python" -I -m pip install --progress-bar off --no-deps \
      --target "$partial/wheels" "${cuda_wheels[@]}" &&
    ln -s lib "$unpacked/lib64" &&
    ln -s libcudart.so.13 "$unpacked/lib/libcudart.so" &&
    chmod +x "$unpacked"/bin/* "$unpacked"/nvvm/bin/* &&
    "$unpacked/bin/nvcc" --version &&
    mv "$unpacked" "$toolkit" && # one rename: an existing toolkit is complete
    rm -rf "$partial"
}

set_up_nvcc() {
  local python toolkit="$cache/cuda-$cuda_version"
  case $with_cuda in
    no) return ;;
    auto) if ! gpu_present || nvcc_present || [[ -n $(own_libtorch) ]]; then return; fi ;;
  esac
  if [[ -x $toolkit/bin/nvcc ]]; then
    say "nvcc: $cuda_version is in $toolkit"
    return
  fi
  python=$(find_python) || fail "no Python 3.10 to 3.14 with the venv module was found"
  logged nvcc "nvcc: installing $cuda_version (100 MB to download) into $toolkit" install_nvcc "$python" "$toolkit"
}

# One set-up at a time: two would write the same folders.
mkdir -p "$cache" 2>/dev/null || fail "the cache folder $cache cannot be created; set DDPM_CACHE to another folder"
exec 9>"$cache/.lock"
if command -v flock >/dev/null && ! flock -n 9; then
  say "waiting for another setup.sh that uses $cache"
  flock 9
fi
if [[ $with_packages == yes ]]; then
  set_up_packages
fi
check_cmake
set_up_torch
set_up_nvcc
