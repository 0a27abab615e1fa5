#!/bin/sh
# Tests of the core pack's scripts: each runs as a worker runs it, with its parameters in a file.
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
ATTUNE_PARAMETER_FILE=$scratch/parameters
export ATTUNE_PARAMETER_FILE
count=0

# check NAME CODE STDOUT STDERR: compares the last run.
check() {
  count=$((count + 1))
  if [ "$code" = "$2" ] && [ "$out" = "$3" ] && [ "$err" = "$4" ]; then
    printf 'ok %s - %s\n' "$count" "$1"
    return
  fi
  printf 'not ok %s - %s\n  ---\n  expected: exit %s, "%s", "%s"\n  actual: exit %s, "%s", "%s"\n  ...\n' \
    "$count" "$1" "$2" "$3" "$4" "$code" "$out" "$err"
}

# run SCRIPT PARAMETERS
run() {
  printf '%s\n' "$2" >"$ATTUNE_PARAMETER_FILE"
  out=$(sh "actions/$1" 2>"$scratch/stderr")
  code=$?
  err=$(cat "$scratch/stderr")
}

echo 'TAP version 13'

run echo.sh "message='Hello, world'"
check 'core.echo prints its message' 0 'Hello, world' ''
run echo.sh "message='\$(id) \`id\` -n \\n'"
check 'core.echo runs nothing of its message' 0 '$(id) `id` -n \n' ''

run fail.sh "message='Out of paper'
exit_code='7'"
check 'core.fail prints to standard error and exits with its code' 7 '' 'Out of paper'

run sleep.sh "seconds='0'"
check 'core.sleep ends without output' 0 '' ''

run shell.sh "command='printf \"%s|\" \"\$@\"'
args_count='2'
args_0='a b'
args_1='\$(id)'"
check 'core.shell passes its arguments unchanged' 0 'a b|$(id)|' ''
run shell.sh "command='cat'
args_count='0'
stdin='from stdin'"
check 'core.shell passes its standard input' 0 'from stdin' ''
run shell.sh "command='exit 3'
args_count='0'"
check 'core.shell exits with the code of its command' 3 '' ''

printf '1..%s\n' "$count"
