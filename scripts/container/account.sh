#!/bin/sh
# account.sh STATE: the account that the daemon runs as, and the only folder that it may write.
#
# Runs as a RUN step of the Dockerfile, and in a chroot by the same file (scripts/container.sh).
# Fixed numbers, so that a volume's owner is the same on every host. No shell, no home.
set -eu
state=$1
id=10001

echo "chain-adapter:x:$id:" >>/etc/group
echo "chain-adapter:x:$id:$id:chain-adapter:$state:/usr/sbin/nologin" >>/etc/passwd
mkdir -p "$state" /etc/chain-adapter
chown "$id:$id" "$state"
chmod 0700 "$state"
