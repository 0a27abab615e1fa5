#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"

# The values become positional parameters by name. What eval sees is the name, args_0, never the value.
set --
while [ "$#" -lt "${args_count:-0}" ]; do
  eval "set -- \"\$@\" \"\$args_$#\"; unset args_$#"
done

# eval, not another sh: command and values stay out of every process's argument list, which all users can read.
# The variables are gone before the command's first word is looked at; the input is ready by then too.
run='unset args args_count command stdin run; '$command
if [ -n "${stdin-}" ]; then
  printf '%s' "$stdin" 2>/dev/null | eval "$run"
else
  eval "$run" </dev/null
fi
