#!/usr/bin/env bash
# Measures a GPU on another machine, in at most six minutes: benches/gpu.sh build [wgpu|cuda] [ARCHIVE] here, which makes one file of
# programs (target/gpu.tar.gz); there, where nothing is built and nothing is fetched:
#   tar -xzf gpu.tar.gz && DERMAFUSE_DEVICES=wgpu:discrete:0 ./gpu/gpu.sh
# It prints in Markdown what docs/performance.md takes up: the kernels compared with the CPU's, then a table of rates, memory and answers.
# Words after gpu.sh are for benches/gpu.rs: `./gpu/gpu.sh ammfm batch=8`.
set -euo pipefail

build() {
  local backend=${1:-wgpu} archive
  archive=$(realpath -m "${2:-target/gpu.tar.gz}")
  local folder found name
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  mkdir "$folder/gpu"
  cd "$(dirname "$0")/.."
  found=$(cargo build --release --workspace --locked --features "dermafuse-tests/$backend" --bench gpu --test devices \
    --message-format json-render-diagnostics | sed -n 's/.*"name":"\(gpu\|devices\)".*"executable":"\([^"]*\)".*/\1 \2/p')
  while read -r name path; do strip -o "$folder/gpu/$name" "$path"; done <<<"$found"
  cp benches/gpu.sh "$folder/gpu"
  echo "$backend" >"$folder/gpu/backend"
  git rev-parse HEAD >"$folder/gpu/version" 2>/dev/null || echo unknown >"$folder/gpu/version"
  mkdir -p "$(dirname "$archive")"
  tar -C "$folder" -czf "$archive" gpu
  du -h "$archive"
}

run() {
  cd "$(dirname "$0")"
  export DERMAFUSE_DEVICES=${DERMAFUSE_DEVICES:-$(cat backend)}
  echo "DermaFuse $(cat version)"
  # Kernels and fusion modules; networks are compared in the table. Where a bound does not hold it is told, and rates are measured all the same.
  timeout 70 ./devices kernels_of fusion_modules --nocapture --test-threads 1 2>&1 |
    sed -E 's/^test [a-z_]+ \.\.\. ([|#])/\1/' | grep -E '^[|#]|panicked|from the CPU|test result' ||
    echo "the comparison did not pass, or did not come to its end"
  echo
  timeout 280 ./gpu "$@" || echo "the measurement did not come to its end"
}

if [ "${1:-}" = build ]; then
  shift
  build "$@"
else
  run "$@"
fi
