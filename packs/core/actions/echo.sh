#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"
printf '%s\n' "$message"
