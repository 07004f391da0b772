#!/usr/bin/env bash
# Downloads the Inception network that defines FID (TensorFlow's of 2015-12-05, in pytorch-fid's form), 96 MB, and
# checks its SHA-256. Keeps a file that already exists. Safe to run again.
#
#   scripts/fetch_inception.sh [--dir FOLDER]     then: ddpm eval --features FOLDER/pt_inception-2015-12-05-6726825d.pth
#
#   --dir FOLDER   where to put it (default: data/inception in the repository)
#   --help         show this text
#
# Environment: DDPM_FETCH_BASE, a mirror to fetch from: $DDPM_FETCH_BASE/inception/<file>.

set -euo pipefail
# shellcheck source=scripts/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

file=pt_inception-2015-12-05-6726825d.pth
sum=6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2
base=https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights
dir="$root/data/inception"
while (($# > 0)); do
  case $1 in
    --dir)
      [[ -n ${2:-} ]] || fail "--dir needs a folder"
      dir=$2 && shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown argument '$1'; see scripts/fetch_inception.sh --help" ;;
  esac
  shift
done

matches() { [[ -f $1 ]] && sha256sum --status --check <<<"$sum  $1"; }

if matches "$dir/$file"; then
  say "$dir/$file already exists, with the right checksum"
  exit 0
fi
mkdir -p "$dir"
url="${DDPM_FETCH_BASE:+$DDPM_FETCH_BASE/inception}"
url="${url:-$base}/$file"
say "downloading $url"
if command -v curl >/dev/null; then
  curl --fail --location --retry 3 --connect-timeout 30 --show-error --silent --output "$dir/$file.part" "$url" ||
    fail "$url could not be fetched; run again"
elif command -v wget >/dev/null; then
  wget --no-verbose --tries 3 --timeout 30 --output-document "$dir/$file.part" "$url" ||
    fail "$url could not be fetched; run again"
else
  fail "neither curl nor wget is installed: apt-get install curl"
fi
if ! matches "$dir/$file.part"; then
  rm -f "$dir/$file.part"
  fail "$url is not the published file (its SHA-256 is not $sum); it was removed; run again to fetch it anew"
fi
mv "$dir/$file.part" "$dir/$file"
say "ready: ddpm eval --features $dir/$file"
