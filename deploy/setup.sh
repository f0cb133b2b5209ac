#!/bin/sh
# Makes .venv with everything in it, and installs the system packages when it may. Costs nothing when all is done:
# .venv/.setup-stamp holds a checksum of what the environment was made from.
#
# PYTHON=/path/to/python3 chooses the interpreter (3.11 or later); otherwise the first suitable one is taken.
set -eu
cd "$(dirname "$0")/.."
ROOT=$(pwd)
STAMP=.venv/.setup-stamp
LOCK=deploy/lock/requirements.txt
DIRECTORY_LOCK=deploy/lock/directory.txt
TORCH=$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

checksum() {
  # The path too: an environment does not survive being moved.
  { printf '%s\n' "$ROOT"; cat pyproject.toml "$LOCK" "$DIRECTORY_LOCK" deploy/system-packages.txt deploy/setup.sh; } | cksum
}

WANTED=$(checksum)
if [ -x .venv/bin/python ] && [ "$(cat "$STAMP" 2>/dev/null || true)" = "$WANTED" ]; then
  exit 0
fi

# Python -----------------------------------------------------------------------------------------------------
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or later."
    printf '%s\n' "$PYTHON"
    return
  fi
  for name in python3 python3.11 python3.12 python3.13 /usr/bin/python3; do
    if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then
      command -v "$name"
      return
    fi
  done
  found=$(python3 --version 2>&1 || true)
  fail "needs Python 3.11 or later; found: ${found:-none}. Install one, or set PYTHON=/path/to/python3."
}

make_venv() {
  python=$1
  say "making .venv with $("$python" --version) ($python)"
  if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    "$python" -m venv --clear .venv
  elif "$python" -m virtualenv --version >/dev/null 2>&1; then
    "$python" -m virtualenv --quiet --clear .venv
  elif command -v virtualenv >/dev/null 2>&1; then
    virtualenv --quiet --clear -p "$python" .venv
  elif command -v uv >/dev/null 2>&1; then
    uv venv --quiet --clear --seed --python "$python" .venv
  elif may_install && apt_install python3-venv; then
    "$python" -m venv --clear .venv
  else
    fail "$python cannot make virtual environments. As root: apt-get install python3-venv"
  fi
}

# System packages --------------------------------------------------------------------------------------------
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

may_install() {
  command -v apt-get >/dev/null 2>&1 || return 1
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

apt_install() {
  install="env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
  # shellcheck disable=SC2086
  as_root $install "$@" >/dev/null 2>&1 || {
    as_root apt-get update -qq >/dev/null 2>&1 || true
    as_root $install "$@" >/dev/null 2>&1
  }
}

installed() {
  command -v dpkg-query >/dev/null 2>&1 || return 1
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

system_packages() {
  missing=""
  for package in $(sed 's/#.*//' deploy/system-packages.txt | awk 'NF { print $1 }'); do
    installed "$package" || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  # shellcheck disable=SC2086
  if may_install; then
    say "installing system packages:$missing"
    apt_install $missing && return 0
    say "apt-get could not install them."
  fi
  say "missing system packages, and what goes without them:"
  for package in $missing; do
    sed -n "s/^$package  */  $package: /p" deploy/system-packages.txt
  done
  say "to add them, as root: apt-get install$missing"
}

# Python packages --------------------------------------------------------------------------------------------
python_packages() {
  # torch first and by pip: a resolver that saw it with the rest would take a build with CUDA on every machine.
  if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
    say "installing $TORCH"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$TORCH" || fail "$TORCH could not be installed."
  fi
  [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.13.8" ||
    fail "uv could not be installed."
  say "installing the locked packages"
  VIRTUAL_ENV="$ROOT/.venv" .venv/bin/uv pip install --quiet --python .venv/bin/python -r "$LOCK" ||
    fail "the packages of $LOCK could not be installed."
  # Built here, against the machine's LDAP library.
  VIRTUAL_ENV="$ROOT/.venv" .venv/bin/uv pip install --quiet --python .venv/bin/python -r "$DIRECTORY_LOCK" 2>/dev/null || {
    say "python-ldap could not be built: sign-in with a staff directory (APPLIANCE_LDAP_URL) goes without it."
    say "to add it, as root: apt-get install gcc python3-dev libldap-dev libsasl2-dev; then rm $STAMP && make setup"
  }
}

[ -n "$TORCH" ] || fail "pyproject.toml names no torch version."
# An environment that was moved, or that an interrupted run left without pip, is made again.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || ! new_enough .venv/bin/python ||
  [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" != "$ROOT/.venv" ]; then
  python=$(find_python)
  make_venv "$python"
fi
system_packages
python_packages
printf '%s\n' "$WANTED" >"$STAMP"
say "done"
