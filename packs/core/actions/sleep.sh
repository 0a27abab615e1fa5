#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"
# exec: the signals of a cancel or a time-out reach the wait itself.
exec sleep "$seconds"
