#!/usr/bin/env bash
# Drives matrix-nio, matrix-js-sdk and mautrix against a server started by its command line.
# PYTHON is the interpreter that has the server; the clients get an environment of their own.
# Set HEARTH_TEST_POSTGRES=postgresql://... to run on PostgreSQL too. Arguments choose journeys.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-.venv/bin/python}
found=$(command -v "$PYTHON") || { echo "No $PYTHON: set PYTHON to the server's." >&2; exit 2; }
PYTHON=$(realpath --no-symlinks "$found")
export PYTHON
cd tests/clients

if ! .venv/bin/python -c 'import mautrix, nio, psycopg2' 2>/dev/null; then
    "$PYTHON" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
fi
if ! [ js/node_modules/.package-lock.json -nt js/package-lock.json ]; then
    (cd js && npm ci --silent --no-audit --no-fund)
fi
exec .venv/bin/python run.py "$@"
