#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"

# The values become positional parameters by name: eval reads the name, args_0, never the value.
set --
while [ "$#" -lt "${args_count:-0}" ]; do
  eval "set -- \"\$@\" \"\$args_$#\"; unset args_$#"
done

# eval, not another sh: all users can read the argument lists of processes, so command and values must not be in one.
# The variables are unset and the input is ready before the command runs.
run='unset args args_count command stdin run; '$command
if [ -n "${stdin-}" ]; then
  printf '%s' "$stdin" 2>/dev/null | eval "$run"
else
  eval "$run" </dev/null
fi
