#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"
printf 'Hello, %s.\n' "$name"
