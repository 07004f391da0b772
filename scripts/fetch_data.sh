#!/usr/bin/env bash
# Downloads public image sets for training. Resumes an interrupted download, checks the published checksum and
# keeps files that already exist. Safe to run again.
#
#   scripts/fetch_data.sh mnist|fashion_mnist|cifar10|all [--dir FOLDER]
#
#   mnist          60,000 + 10,000 digits, 28x28 grey, 12 MB   -> data/mnist/*.gz
#   fashion_mnist  60,000 + 10,000 clothes, 28x28 grey, 31 MB  -> data/fashion_mnist/*.gz
#   cifar10        50,000 + 10,000 photos, 32x32 RGB, 170 MB   -> data/cifar10/train.zip and test.zip, as PNG
#                  files in one folder per class (converted from the binary version)
#
#   --dir FOLDER   where to put them (default: data in the repository)
#   --help         show this text
#
# Environment: DDPM_FETCH_BASE, a mirror to fetch from: $DDPM_FETCH_BASE/<set>/<file>.

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

sets=()
dir="$root/data"
while (($# > 0)); do
  case $1 in
    mnist | fashion_mnist | cifar10) sets+=("$1") ;;
    all) sets=(mnist fashion_mnist cifar10) ;;
    --dir)
      [[ -n ${2:-} ]] || fail "--dir needs a folder"
      dir=$2 && shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown argument '$1'; see scripts/fetch_data.sh --help" ;;
  esac
  shift
done
((${#sets[@]} > 0)) || fail "which set? mnist, fashion_mnist, cifar10 or all; see scripts/fetch_data.sh --help"

# download URL FILE: resumes at the end of FILE, or starts again if the server cannot resume.
download() {
  if command -v curl >/dev/null; then
    local curl=(curl --fail --location --retry 3 --connect-timeout 30 --show-error --output "$2")
    if [[ -t 2 ]]; then curl+=(--progress-bar); else curl+=(--silent); fi
    local status=0
    "${curl[@]}" --continue-at - "$1" || status=$?
    ((status == 33)) || return "$status" # 33: the server does not support ranges
    rm -f "$2" && "${curl[@]}" "$1"
  elif command -v wget >/dev/null; then
    wget --no-verbose --tries 3 --timeout 30 --continue --output-document "$2" "$1"
  else
    fail "neither curl nor wget is installed: apt-get install curl"
  fi
}

# matches FILE sha256|md5 SUM
matches() { [[ -f $1 ]] && "$2sum" --status --check <<<"$3  $1"; }

# fetch SET FILE BASE_URL sha256|md5 SUM
fetch() {
  local target="$dir/$1/$2" url="${DDPM_FETCH_BASE:+$DDPM_FETCH_BASE/$1}"
  url="${url:-$3}/$2"
  if matches "$target" "$4" "$5"; then
    say "$1: $2 already exists, with the right checksum"
    return
  fi
  mkdir -p "$dir/$1"
  if ! matches "$target.part" "$4" "$5"; then
    say "$1: downloading $url"
    download "$url" "$target.part" || fail "$url could not be fetched; run again to resume"
  fi
  if ! matches "$target.part" "$4" "$5"; then
    rm -f "$target.part"
    fail "$url is not the published file ($4 differs from $5); it was removed; run again to fetch it anew"
  fi
  mv "$target.part" "$target"
}

fetch_mnist() {
  local base=https://ossci-datasets.s3.amazonaws.com/mnist
  fetch mnist train-images-idx3-ubyte.gz $base sha256 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
  fetch mnist train-labels-idx1-ubyte.gz $base sha256 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
  fetch mnist t10k-images-idx3-ubyte.gz $base sha256 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
  fetch mnist t10k-labels-idx1-ubyte.gz $base sha256 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
}

# Zalando publishes MD5 sums.
fetch_fashion_mnist() {
  local base=https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion
  fetch fashion_mnist train-images-idx3-ubyte.gz $base md5 8d4fb7e6c68d591d4c3dfef9ec88bf0d
  fetch fashion_mnist train-labels-idx1-ubyte.gz $base md5 25c81989df183df01b3e8a0aad5dffbe
  fetch fashion_mnist t10k-images-idx3-ubyte.gz $base md5 bef4ecab320f06d8554ea6380940ec79
  fetch fashion_mnist t10k-labels-idx1-ubyte.gz $base md5 bb300cfdad3c16e7a12a480ee83cd310
}

fetch_cifar10() {
  local folder="$dir/cifar10" archive=cifar-10-binary.tar.gz
  if [[ -f $folder/train.zip && -f $folder/test.zip ]]; then
    say "cifar10: train.zip and test.zip already exist"
    return
  fi
  fetch cifar10 $archive https://www.cs.toronto.edu/~kriz \
    sha256 c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
  say "cifar10: converting to PNG in train.zip and test.zip"
  python3 "$root/scripts/cifar10_to_zip.py" "$folder/$archive" "$folder"
}

for set in "${sets[@]}"; do
  "fetch_$set"
  say "$set: ready in $dir/$set"
done
