/** Scripts that let shells complete command lines of `attune`. They pass on words as they are typed, and evaluate none. */
export const shells: Readonly<Record<string, string>> = {
  bash: `_attune() {
  local line=\${COMP_LINE:0:COMP_POINT} breaks=\${COMP_WORDBREAKS//[^=:]/} words current value prefix=
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current=\${words[\${#words[@]}-1]}
  # Bash replaces only what follows the last = or : of a word.
  [[ -n $breaks && $current == *[$breaks]* ]] && prefix=\${current%"\${current##*[$breaks]}"}
  COMPREPLY=()
  while IFS=$'\\t' read -r value _; do
    COMPREPLY+=("\${value#"$prefix"}")
  done < <(attune complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -o default -F _attune attune
`,
  zsh: `#compdef attune
_attune() {
  local line
  local -a described
  for line in "\${(@f)$(attune complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  if (( $#described )); then _describe attune described; else _files; fi
}
compdef _attune attune
`,
  fish: `function __attune_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (attune complete -- $words[2..-1] 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c attune -f -a '(__attune_complete)'
`,
};
