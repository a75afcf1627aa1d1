#!/usr/bin/env bash
# Runs every test of the crate. Needs a Rust toolchain, openssl, curl, jq, and the programs of Redis, PostgreSQL, PgBouncer
# and Prometheus, which the tests start themselves.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: ./tests/run.sh

Runs all tests of the crate, in three steps: with default features, with all
features, and the examples in the documentation. Stops at the first step that
fails and prints how to run it alone. Uses cargo-nextest when it is installed.
TEXT
}

case ${1:-} in
'') ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

bold='' red='' green='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Straight after its installation, rustup's directory is not yet on the PATH of
# a shell that was already open.
if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi
if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    stop "Rust is missing: cargo or rustc was not found." \
        "Install it from https://rustup.rs, or with your package manager (the package is" \
        "mostly called 'rustup' or 'cargo'), open a new shell, and run this again."
fi

# Distributions often carry an old Rust, whose own complaint about the edition
# says little about the way out.
wanted=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)
found=$(rustc --version | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
wanted_minor=$(cut -d. -f2 <<<"$wanted")
found_minor=$(cut -d. -f2 <<<"$found")
if [[ -n $wanted_minor && -n $found_minor ]] && ((found_minor < wanted_minor)); then
    stop "Rust $wanted or newer is needed, this is $found." \
        "With rustup: rustup update stable"
fi

# Rust links with the system's C compiler. A toolchain made for Windows' own
# linker finds that by itself.
case $(uname -s) in
MINGW* | MSYS* | CYGWIN*) ;;
*)
    if ! command -v cc >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "a linker is missing: installing gcc"
        apt-get update -qq && apt-get install -y -qq gcc libc6-dev
    fi
    if ! command -v cc >/dev/null; then
        stop "A linker is missing: 'cc' was not found, and Rust needs one to build anything." \
            "Debian, Ubuntu: apt-get install gcc libc6-dev    Fedora: dnf install gcc" \
            "Alpine: apk add build-base                       macOS: xcode-select --install"
    fi
    ;;
esac

# The tests of the Redis store start servers of their own, each on a free port.
case $(uname -s) in
MINGW* | MSYS* | CYGWIN*) ;;
*)
    if ! command -v redis-server >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "redis-server is missing: installing it"
        # Its package would also start a server, which nobody here asked for.
        apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server
    fi
    if ! command -v redis-server >/dev/null; then
        stop "redis-server is missing: the tests of the Redis store run against real servers." \
            "Debian, Ubuntu: apt-get install redis-server    Fedora: dnf install redis" \
            "Alpine: apk add redis                           macOS: brew install redis"
    fi
    ;;
esac

# One test talks to a server over TLS, with certificates that it makes itself.
if ! command -v openssl >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "openssl is missing: installing it"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends openssl
fi
if ! command -v openssl >/dev/null; then
    stop "openssl is missing: a test makes certificates with it." \
        "Debian, Ubuntu: apt-get install openssl    Fedora: dnf install openssl" \
        "Alpine: apk add openssl                    macOS: brew install openssl"
fi

# One of the stores is tested against a real PostgreSQL server, which the tests
# start and stop themselves.
has_postgres() {
    local folder
    command -v initdb >/dev/null && command -v postgres >/dev/null && return
    for folder in /usr/lib/postgresql/*/bin; do
        [[ -x $folder/initdb && -x $folder/postgres ]] && return
    done
    return 1
}
if ! has_postgres && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "a PostgreSQL server is missing: installing postgresql"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql
fi
if ! has_postgres; then
    stop "A PostgreSQL server is missing: 'initdb' and 'postgres' were not found." \
        "Debian, Ubuntu: apt-get install postgresql    Fedora: dnf install postgresql-server" \
        "Alpine: apk add postgresql                    macOS: brew install postgresql" \
        "It need not run: the tests start one of their own."
fi

# The same store is tested through a pooler, which hands each statement to
# another connection. Its package keeps it where only root looks.
has_pgbouncer() {
    command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer ]]
}
if ! has_pgbouncer && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "PgBouncer is missing: installing it"
    # Its package would also start one, which nobody here asked for.
    apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends pgbouncer
fi
if ! has_pgbouncer; then
    stop "PgBouncer is missing: a test of the PostgreSQL store runs through it." \
        "Debian, Ubuntu: apt-get install pgbouncer    Fedora: dnf install pgbouncer" \
        "Alpine: apk add pgbouncer                    macOS: brew install pgbouncer"
fi

# A page for operators is run as it stands there: it asks instances for their
# health by curl, and reads what the program prints by jq.
for tool in curl jq; do
    if ! command -v "$tool" >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "$tool is missing: installing it"
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$tool"
    fi
    if ! command -v "$tool" >/dev/null; then
        stop "$tool is missing: a page for operators is run with it." \
            "Debian, Ubuntu: apt-get install $tool    Fedora: dnf install $tool" \
            "Alpine: apk add $tool                    macOS: brew install $tool"
    fi
done

# What is exported is looked at by the one who reads it.
has_prometheus() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null
}
if ! has_prometheus && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "Prometheus is missing: installing it"
    # Its package would also start one, which is not asked for.
    apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus
fi
if ! has_prometheus; then
    stop "Prometheus is missing: 'prometheus' and 'promtool' were not found. Tests compare what it scrapes." \
        "Debian, Ubuntu: apt-get install prometheus    macOS: brew install prometheus" \
        "Elsewhere: https://prometheus.io/download     It need not run: the tests start one of their own."
fi

number=0
steps=3

step() {
    local name=$1
    shift
    number=$((number + 1))
    echo "$bold==> $number/$steps $name: $*$plain"
    if ! "$@"; then
        stop "${red}==> failed: $name${plain}" "    run it alone: $*"
    fi
}

step "tests, default features" cargo test --locked

# Nextest gives each test a process and a time limit, but can't run doctests.
if cargo nextest --version >/dev/null 2>&1; then
    step "tests, all features" cargo nextest run --locked --all-features
else
    # Asked for tests alone, cargo builds no example programs, and one of the tests runs them.
    cargo build --locked --all-features --examples
    step "tests, all features" cargo test --locked --all-features --lib --tests
fi

step "documentation examples" cargo test --locked --all-features --doc

echo "${green}==> all $steps steps passed in $SECONDS s$plain"
