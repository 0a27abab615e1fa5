#!/bin/sh
# Prints TAP: a line for each test, and their number.
file=$(mktemp) || exit 1
trap 'rm -f "$file"' EXIT
echo "name='reader'" >"$file"
echo 1..1
if [ "$(ATTUNE_PARAMETER_FILE=$file sh actions/greet.sh)" = 'Hello, reader.' ]; then
  echo 'ok 1 - greets by name'
else
  echo 'not ok 1 - greets by name'
fi
