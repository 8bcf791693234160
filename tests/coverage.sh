#!/usr/bin/env bash
# Which lines of lm_nbdev do the notebooks and the tests run together? Fails under 95 %: tests/coverage.sh [folder for the report in HTML]
# A warning that our own code causes is an error meanwhile, in the chapters too (tests/strict).
set -euo pipefail
cd "$(dirname "$0")/.."
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
export LM_NBDEV_MODULES=$PWD/lm_nbdev COVERAGE_PROCESS_START=$PWD/tests/coverage.ini COVERAGE_FILE=$where/data PYTHONPATH=$PWD/tests/strict:$PWD LM_NBDEV_CORPUS=${LM_NBDEV_CORPUS-toronto}
python=${PYTHON:-$PWD/.venv/bin/python}
"$(dirname "$python")/nbdev_test"
"$python" -m pytest -q "${@:2}"
unset COVERAGE_PROCESS_START
"$python" -m coverage combine -q --rcfile tests/coverage.ini "$where"
[ -z "${1:-}" ] || "$python" -m coverage html -q --rcfile tests/coverage.ini -d "$1" --fail-under 0
"$python" -m coverage report --rcfile tests/coverage.ini
