#!/usr/bin/env bash
# Builds the crate with no features, with each feature alone, and (as long as
# there are few, and not for the documentation) with every pair. Code that only compiles because another
# feature happens to be on is found here, before a user finds it.
#
#   .ci/features.sh         cargo check; compiler warnings fail it too
#   .ci/features.sh doc     cargo doc; a link into code that is off fails it
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-check}
# Beyond this many features the pairs take longer than they are worth. Links
# break where one feature is off, so the documentation needs no pairs.
case $mode in
check) max_features_for_pairs=12 command=(cargo check --locked) ;;
doc) max_features_for_pairs=0 command=(cargo doc --locked --no-deps) && export RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" ;;
*)
    echo "usage: .ci/features.sh [check|doc]" >&2
    exit 2
    ;;
esac

# The names come from cargo, so that a new feature can't be forgotten here. In
# its JSON, "features" is an object in one place only: the package itself (a
# dependency has an array), and that object holds no further braces.
metadata=$(cargo metadata --no-deps --format-version 1)
table=$(sed -n 's/.*"features":{\([^}]*\)}.*/\1/p' <<<"$metadata")
names=$(grep -o '"[^"]*":\[' <<<"$table" | tr -d '":[' | grep -vx default || true)

sets=("")
count=0
for first in $names; do
    sets+=("$first")
    count=$((count + 1))
done
if ((count <= max_features_for_pairs)); then
    for first in $names; do
        for second in $names; do
            if [[ $first < $second ]]; then sets+=("$first,$second"); fi
        done
    done
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

for set in "${sets[@]}"; do
    echo "  $mode: features [$set]"
    # No colours: the search below has to recognise the line.
    if ! "${command[@]}" --color never --no-default-features --features "$set" >"$log" 2>&1; then
        cat "$log" >&2
        echo "features [$set] failed; alone: ${command[*]} --no-default-features --features '$set'" >&2
        exit 1
    fi
    # Cargo repeats a warning of its cache, and names only our own crate here.
    if grep -Eq '^warning: .* generated [0-9]+ warning' "$log"; then
        cat "$log" >&2
        echo "features [$set] compile, but with warnings" >&2
        exit 1
    fi
done
echo "  ${#sets[@]} feature sets are fine"
