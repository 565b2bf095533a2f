#!/usr/bin/env bash
# Download the official SAM 2 and SAM 2.1 checkpoints into this script's folder, or into $SAM2LONG_CHECKPOINT_DIR.
#
#   ./download_ckpts.sh                      all eight files (about 3 GB)
#   ./download_ckpts.sh sam2.1_hiera_tiny    the named ones only
#
# A download grows under NAME.pt.part and gets its final name when it is complete: run the script again to resume.
# $SAM2LONG_CHECKPOINT_URL replaces the base address (for a mirror).
set -euo pipefail

base_url="${SAM2LONG_CHECKPOINT_URL:-https://dl.fbaipublicfiles.com/segment_anything_2}"
target="${SAM2LONG_CHECKPOINT_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}"

all_names=(
    sam2.1_hiera_tiny sam2.1_hiera_small sam2.1_hiera_base_plus sam2.1_hiera_large
    sam2_hiera_tiny sam2_hiera_small sam2_hiera_base_plus sam2_hiera_large
)

fail() { # exit status, message
    echo "download_ckpts.sh: error: $2" >&2
    exit "$1"
}

is_known() {
    local name
    for name in "${all_names[@]}"; do
        [[ "$name" == "$1" ]] && return 0
    done
    return 1
}

url_of() {
    case "$1" in
        sam2.1_*) echo "$base_url/092824/$1.pt" ;;
        *) echo "$base_url/072824/$1.pt" ;;
    esac
}

bytes_in() {
    if [[ -f "$1" ]]; then wc -c <"$1" | tr -d ' '; else echo 0; fi
}

# The size in bytes that the server announces for a URL; nothing where it does not say.
announced_bytes() {
    if command -v curl >/dev/null; then
        curl --fail --location --silent --head "$1" || true
    else
        wget --spider --server-response --tries=1 "$1" 2>&1 || true
    fi | tr -d '\r' | awk 'tolower($1) == "content-length:" { bytes = $2 } END { print bytes }'
}

# Append to a file ($2) what is missing of a URL ($1).
fetch() {
    local meter=(--progress-bar)
    [[ -t 2 ]] || meter=(--silent --show-error)
    if command -v curl >/dev/null; then
        curl "${meter[@]}" --fail --location --retry 3 --continue-at - --output "$2" "$1" && return
        # 33: the server cannot send the rest of a file; begin again.
        [[ $? -eq 33 ]] && rm -f "$2" && curl "${meter[@]}" --fail --location --retry 3 --output "$2" "$1"
    else
        wget --no-verbose --tries=4 --waitretry=2 --continue --output-document="$2" "$1"
    fi
}

download() {
    local file="$target/$1.pt" url expected
    url="$(url_of "$1")"
    expected="$(announced_bytes "$url")"
    if [[ -s "$file" ]]; then
        [[ -z "$expected" || "$(bytes_in "$file")" == "$expected" ]] ||
            fail 1 "$file has $(bytes_in "$file") bytes, the server announces $expected: delete it and run again"
        echo "$file is already here"
        return
    fi
    # A part that is whole needs no request: servers answer one for bytes after the end with an error.
    if [[ -z "$expected" || "$(bytes_in "$file.part")" != "$expected" ]]; then
        echo "downloading $url"
        if ! fetch "$url" "$file.part"; then
            [[ -s "$file.part" ]] || rm -f "$file.part"
            fail 1 "cannot download $url (if a part arrived, run again to resume)"
        fi
    fi
    [[ -z "$expected" || "$(bytes_in "$file.part")" == "$expected" ]] ||
        fail 1 "$file.part has $(bytes_in "$file.part") bytes, the server announces $expected: delete it and run again"
    mv -f "$file.part" "$file"
    echo "$file ($(bytes_in "$file") bytes)"
}

for name in "$@"; do
    is_known "$name" || fail 2 "unknown checkpoint '$name'; known: ${all_names[*]}"
done
[[ -d "$target" ]] || fail 2 "no folder $target"
command -v curl >/dev/null || command -v wget >/dev/null || fail 1 "curl or wget is needed"
if [[ $# -eq 0 ]]; then
    set -- "${all_names[@]}"
fi
for name in "$@"; do
    download "$name"
done
