#!/bin/sh
# Runs a command as a container would: with its own /opt/ml, its log in a file, its exit code in another.
#   contract.sh FOLDER private|shared COMMAND...
# FOLDER/opt/ml becomes /opt/ml when this mount namespace is private; nothing is seen or left outside it.
set -eu
folder=$1 namespace=$2
shift 2
exec >>"$folder/log" 2>&1 </dev/null
cd "$folder"
if [ "$namespace" = private ]; then
    if [ -d /opt/ml ]; then
        mount --bind "$folder/opt/ml" /opt/ml
    else
        # /opt can't be written to by everyone: a copy of it, made of mounts, takes its place.
        for entry in /opt/*; do
            if [ -L "$entry" ]; then
                cp -P "$entry" "$folder$entry"
            elif [ -d "$entry" ]; then
                mkdir -p "$folder$entry"
                mount --rbind "$entry" "$folder$entry"
            elif [ -f "$entry" ]; then
                : >"$folder$entry"
                mount --bind "$entry" "$folder$entry"
            fi
        done
        mount --rbind "$folder/opt" /opt
    fi
    if [ -f "$folder/etc-hosts" ]; then
        mount --bind "$folder/etc-hosts" /etc/hosts
    fi
fi
# SIGTERM goes to the whole process group: this shell outlives it to write down how the command ended.
trap : TERM INT
set +e
"$@"
echo $? >exit_code.partial
mv exit_code.partial exit_code
