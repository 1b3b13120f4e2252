"""The scripts for shells, with gaps for what they know of a program.

All three do the same: flags first, each with its value if it takes one, then the
command, then its arguments by their place. The server is asked with the flags that are
on the line. Names come from others: no shell may expand them.
"""

from __future__ import annotations

ASK = r"""_%program%_ask() { # nobody waits long for this
  local list=$1
  shift
  %program% -srpcDefaultConnectTimeout=3s "$@" -quiet -json=false "$list" 2> /dev/null |
    sed 's/  *OwnerGroup=.*//'
}"""

BASH = r"""# bash completion for %program%
%ask%
_%program%_complete() {
  local -a words=() flags=()
  local part glued='' index command='' position=0 kind='' word prefix='' list name
  # Bash takes words apart at these, too.
  for part in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    if [[ $part =~ ^[:=]+$ ]]; then words[-1]+=$part; glued=yes
    elif [[ -n $glued ]]; then words[-1]+=$part; glued=
    else words+=("$part")
    fi
  done
  word=${words[-1]}
  for ((index = 1; index < ${#words[@]} - 1; index++)); do
    part=${words[index]}
    if [[ -n $command ]]; then position=$((position + 1))
    elif [[ $part != -* ]]; then command=$part
    else
      flags+=("$part")
      name=${part#-}
      if [[ ' %valued% ' == *" ${name#-} "* ]]; then
        index=$((index + 1))
        if ((index == ${#words[@]} - 1)); then kind=files
        else flags+=("${words[index]/#\~\//$HOME/}")
        fi
      fi
    fi
  done
  if [[ -z $command$kind ]]; then
    case $word in
    -*=*) kind=files;;
    -*) kind=flags;;
    *) kind=commands;;
    esac
  fi
  case $command:$position in
%cases%
  esac
  case $kind:$word in
    images:i:*) prefix=i:;;
    images:I:*) prefix=I: kind=directories;;
    images:[dfl]:*) kind=files;;
  esac
  COMPREPLY=()
  case $kind in
    images) list=$(_%program%_ask list "${flags[@]}");;
    directories) list=$(_%program%_ask listdirs "${flags[@]}");;
    commands) list=%commands%;;
    flags) list=%flags%;;
    shells) list=$(printf '%s\n' %shells%);;
    files) compopt -o default; return;;
    *) return;;
  esac
  while IFS= read -r name; do
    [[ -n $name ]] || continue
    printf -v name %q "$prefix$name"
    [[ $name != "$word"* ]] || COMPREPLY+=("$name")
  done <<< "$list"
  # What is before the last colon is on the line already, in a word of its own.
  if [[ $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
  fi
}
complete -F _%program%_complete %program%
"""

ZSH = r"""#compdef %program%
%ask%
_%program%() {
  local -a flags list
  local part command kind name
  integer index position
  for ((index = 2; index < CURRENT; index++)); do
    part=${(Q)words[index]}
    if [[ -n $command ]]; then (( ++position ))
    elif [[ $part != -* ]]; then command=$part
    else
      flags+=("$part")
      name=${part#-}
      if [[ ' %valued% ' == *" ${name#-} "* ]]; then
        (( ++index ))
        if (( index == CURRENT )); then kind=files
        else
          part=${(Q)words[index]}
          flags+=("${part/#\~\//$HOME/}")
        fi
      fi
    fi
  done
  if [[ -z $command$kind ]]; then
    if [[ $PREFIX == -*=* ]]; then compset -P '*='; kind=files
    elif [[ $PREFIX == -* ]]; then kind=flags
    else kind=commands
    fi
  fi
  case $command:$position in
%cases%
  esac
  if [[ $kind == images ]]; then
    if compset -P I:; then kind=directories
    elif compset -P '[dfl]:'; then kind=files
    else compset -P i:
    fi
  fi
  case $kind in
    images) list=(${(f)"$(_%program%_ask list "${flags[@]}")"}); compadd -a list;;
    directories)
      list=(${(f)"$(_%program%_ask listdirs "${flags[@]}")"}); compadd -a list;;
    commands)
      list=(
%commands%
      )
      _describe command list;;
    flags)
      list=(
%flags%
      )
      _describe -o flag list;;
    shells) compadd %shells%;;
    files) _files;;
  esac
}
# As a file in $fpath it is run to complete something; with source it is not.
if [[ ${funcstack[1]} == _%program% ]]; then _%program% "$@"
else compdef _%program% %program%
fi
"""

FISH = r"""# fish completion for %program%
function _%program%_place --description 'What is to be completed; the flags before it'
    set -l tokens (commandline -opc)
    set -l flags
    set -l kind
    set -e tokens[1]
    while string match -q -- '-*' "$tokens[1]"
        set -l name (string replace -r '^--?' '' -- $tokens[1])
        set -a flags $tokens[1]
        set -e tokens[1]
        if contains -- $name %valued%
            set -a flags (string replace -r '^~/' "$HOME/" -- $tokens[1])
            set -e tokens[1]
        end
    end
    switch "$tokens[1]:"(math (count $tokens) - 1)
    case ':*'; set kind commands
%cases%
    end
    switch "$kind:"(commandline -ct)
    case 'images:I:*'; set kind directories
    case 'images:d:*' 'images:f:*' 'images:l:*'; set kind files
    end
    printf '%s\n' "$kind" $flags
end
function _%program%_is
    set -l place (_%program%_place)
    contains -- "$place[1]" $argv
end
function _%program%_names
    set -l place (_%program%_place)
    set -l prefix (string match -r '^[iI]:' -- (commandline -ct))
    set -l list list
    test $place[1] = images; or set list listdirs
    set -l flags -srpcDefaultConnectTimeout=3s $place[2..] -quiet -json=false
    %program% $flags $list 2>/dev/null | string replace -r ' +OwnerGroup=.*' '' |
        string replace -r '^' "$prefix"
end
complete -c %program% -f
complete -c %program% -n '_%program%_is images directories' -a '(_%program%_names)'
complete -c %program% -n '_%program%_is files' -F
complete -c %program% -n '_%program%_is shells' -a '%shells%'
%commands%
%flags%
"""
