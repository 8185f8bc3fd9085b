# What the scripts beside it share; they source it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

# heading TEXT: what comes now.
heading() {
  printf '\n== %s\n' "$*"
}

# have COMMAND: whether it is on the path.
have() {
  command -v "$1" >/dev/null 2>&1
}
