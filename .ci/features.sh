#!/usr/bin/env bash
# Builds the crate with no features, with each feature alone, and (not for the
# documentation) with the pairs below. Code that only compiles because another
# feature happens to be on is found here, before a user finds it.
#
#   .ci/features.sh         cargo check; compiler warnings fail it too
#   .ci/features.sh doc     cargo doc; a link into code that is off fails it
set -euo pipefail
cd "$(dirname "$0")/.."

# Pairs that meet in the code: an item of the one behind a `cfg` of the other, a
# type of the one that the other's functions look at, one list to which both add.
# Where one includes the other, it builds the pair alone. All pairs would be a
# hundred, for the sake of these few; a feature that is in none is an error.
pairs=(
    # Which requests, responses and errors there are, and what they mean.
    axum,grpc axum,hyper axum,reqwest grpc,reqwest
    http,hyper http,tower hyper,tower grpc,tower reqwest,tower
    hyper,redis hyper,postgres grpc,redis grpc,postgres
    # A rejection and a snapshot say more in a fleet, and are written out.
    fleet,http fleet,grpc fleet,serde fleet,testing
    # Logs tell of stores as well.
    fleet,tracing
    # What stores have in common, and which of them an environment can name.
    redis,postgres redis,postgres-tls redis-tls,postgres redis-tls,postgres-tls
    env,redis env,redis-tls env,postgres env,postgres-tls
    # The program, beside what it includes; it names nothing of other features.
    cli,http
    # The one rustls, with something to encrypt with and without.
    hyper,redis-tls hyper,postgres-tls
    # What is counted: in a fleet, in a snapshot that is written out, and what more than one bridge shares.
    counts,fleet counts,http counts,serde
    prometheus-client,metrics metrics,opentelemetry prometheus-client,opentelemetry
    # Time as it is measured, waited for and written.
    http,testing http,serde serde,testing redis,testing postgres,testing
)

mode=${1:-check}
# Links break where one feature is off, so the documentation needs no pairs.
case $mode in
check) command=(cargo check --locked) ;;
doc) command=(cargo doc --locked --no-deps) && export RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" ;;
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

wrong=0
for pair in "${pairs[@]}"; do
    for name in ${pair//,/ }; do
        if ! grep -Fxq -- "$name" <<<"$names"; then
            echo "the pair [$pair] names a feature that does not exist: $name" >&2
            wrong=1
        fi
    done
done
for name in $names; do
    if ! tr ', ' '\n\n' <<<"${pairs[*]}" | grep -Fxq -- "$name"; then
        echo "the feature $name is in no pair: with which does it meet in the code?" >&2
        wrong=1
    fi
done
if ((wrong)); then exit 1; fi

sets=("")
for name in $names; do sets+=("$name"); done
if [[ $mode == check ]]; then sets+=("${pairs[@]}"); fi

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
