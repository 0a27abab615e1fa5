#!/bin/sh
# Appends this process's start and end to the history. The lock is held until the process and its children have ended, however they end.
. "$ATTUNE_PARAMETER_FILE"
id=$(printf %s "$ATTUNE_EXEC_ID" | base64 -d)
id=${id#*:}
exec 9>>"$HOME/locks/$id"
if flock -n 9; then alone=true; else alone=false; fi
read -r stat <"/proc/$$/stat"
stat=${stat##*) }
set -- $stat
process="\"execution\":\"$id\",\"pid\":$$,\"ticks\":\"${20}\",\"at\":"
printf '{"kind":"start",%s%s,"alone":%s}\n' "$process" "$(date +%s%3N)" "$alone" >>"$HOME/history.jsonl"
sleep "$seconds"
code=0
if [ "${children:-0}" -gt 0 ]; then node "${0%/*}/children.mjs" "$key" "$children" || code=1; fi
if [ "$fails" -gt 0 ]; then
  echo "$id" >>"$HOME/tries/$key"
  if [ "$(sort -u "$HOME/tries/$key" | wc -l)" -le "$fails" ]; then code=1; fi
fi
case $hush in none) ;; hush-*) echo "with $hush" ;; *) code=3 ;; esac
printf '{"kind":"end",%s%s,"code":%s}\n' "$process" "$(date +%s%3N)" "$code" >>"$HOME/history.jsonl"
exit "$code"
