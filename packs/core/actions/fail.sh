#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"
printf '%s\n' "$message" >&2
exit "$exit_code"
