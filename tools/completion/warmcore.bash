# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# bash completion for warmcore(1). Commands and options are read from the program's own --help, so they never differ
# from what it takes.

_warmcore_commands() {
	"$1" --help 2>/dev/null | sed -n '/^DESCRIPTION/,/^OPTIONS/s/^         \([a-z][a-z-]\{1,\}\) .*/\1/p'
	echo help
}

_warmcore_options() {
	"$1" ${2:+"$2"} --help 2>/dev/null | sed -n 's/^        \(-[a-zA-Z], \)\{0,1\}\(--[a-z-]*\).*/\2/p'
	echo --help
}

# The values of an option whose --help names them: "--datapath kernel|user"
_warmcore_choices() {
	"$1" "$2" --help 2>/dev/null |
		sed -n "s/^        \(-[a-zA-Z], \)\{0,1\}$3 \([a-z]*|[a-z|]*\)\$/\2/p" | tr '|' ' '
}

# The simulator's policies: --help lists them
_warmcore_policies() {
	"$1" sim --help 2>/dev/null | sed -n '/POLICIES$/,/^ *Times are/s/^           \([a-z0-9_]*\) .*/\1/p'
	echo all
}

_warmcore_functions() {
	"$1" --node "$2" --json list 2>/dev/null | grep -o '"name": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

_warmcore_nodes() {
	local folder
	for folder in /run/warmcore/*/; do
		[ -d "$folder" ] && basename "$folder"
	done
}

# Names of keys, for whoever may read the file
_warmcore_keys() {
	"$1" --json keys list ${2:+--key-file "$2"} 2>/dev/null | grep -o '"name": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

_warmcore() {
	local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local command="" action="" key_file="" node=default choices positional=0 i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--node)
			node=${COMP_WORDS[++i]}
			;;
		--key-file)
			key_file=${COMP_WORDS[++i]}
			;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=${COMP_WORDS[i]}
			else
				[ $positional != 0 ] || action=${COMP_WORDS[i]}
				positional=$((positional + 1))
			fi
			;;
		esac
	done

	if [[ $command = sim && ( $before = --policy || $before = -p ) ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_policies "$program")" -- "$word")
		return
	fi
	case $before in
	--node)
		mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_nodes)" -- "$word")
		return
		;;
	--dev)
		mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$word")
		return
		;;
	--file | --output | --config | --key-file | --secret-file | --callback-secret-file | --callback-ca | --token-file | --unix | --tls-cert | --tls-key | --trace | \
		--azure | --csv | --chrome)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--sort)
		mapfile -t COMPREPLY < <(compgen -W "rate load wait service cold errors running waiting warm total name core busy age state
			shard function" -- "$word")
		return
		;;
	--owner | --user)
		mapfile -t COMPREPLY < <(compgen -u -- "$word")
		return
		;;
	--functions | --function)
		mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_functions "$program" "$node")" -- "$word")
		return
		;;
	--state-dir | --folder)
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	--*)
		if [ -n "$command" ]; then
			choices=$(_warmcore_choices "$program" "$command" "$before")
			if [ -n "$choices" ]; then
				mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
				return
			fi
		fi
		;;
	esac

	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_options "$program" "$command")" -- "$word")
		return
	fi
	case $command in
	"" | help)
		mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_commands "$program")" -- "$word")
		;;
	invoke | logs | versions | rollback | secret | publish | alias | code)
		if [ $positional = 0 ]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_functions "$program" "$node")" -- "$word")
		fi
		;;
	load)
		if [ "$action" = merge ]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
		else
			mapfile -t COMPREPLY < <(compgen -W "merge $(_warmcore_functions "$program" "$node")" -- "$word")
		fi
		;;
	study)
		if [[ $word == */* ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
		else
			mapfile -t COMPREPLY < <(compgen -W "$("$program" study --list 2>/dev/null | cut -d ' ' -f 1)" -- "$word"; compgen -f -- "$word")
		fi
		;;
	remove | evict | warmth | trace)
		mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_functions "$program" "$node")" -- "$word")
		;;
	config)
		if [ $positional = 0 ]; then
			mapfile -t COMPREPLY < <(compgen -W "check show" -- "$word")
		elif [ $positional = 1 ] && [ "$action" = check ]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
		fi
		;;
	async)
		if [ $positional = 0 ]; then
			mapfile -t COMPREPLY < <(compgen -W "status list show redrive purge" -- "$word")
		elif [ $positional = 1 ] && [ "$action" = list ]; then
			mapfile -t COMPREPLY < <(compgen -W "waiting dead deliveries" -- "$word")
		fi
		;;
	upgrade)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		;;
	keys)
		if [ $positional = 0 ]; then
			mapfile -t COMPREPLY < <(compgen -W "create list disable enable rotate remove" -- "$word")
		elif [ $positional = 1 ] && [[ $action == @(disable|enable|rotate|remove) ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_warmcore_keys "$program" "$key_file")" -- "$word")
		fi
		;;
	deploy)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		;;
	esac
}

complete -o filenames -o bashdefault -F _warmcore warmcore
