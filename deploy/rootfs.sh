#!/bin/bash
# Lays out the image's root file system: rootfs.sh BINARY DIRECTORY. The binary must be static, since nothing else is there.
set -euo pipefail
binary=$1 root=$2

if ! ldd "$binary" 2>&1 | grep -Eq 'statically linked|not a dynamic executable'; then
  echo "$binary is not static: build it with -C target-feature=+crt-static" >&2
  exit 1
fi
# /etc/rowcount is where settings and secrets are mounted.
install -d -m 755 "$root"/etc/{rowcount,ssl/certs} "$root"/usr/bin
install -m 755 "$binary" "$root/usr/bin/rowcount"
install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo 'rowcount:x:65532:65532:rowcount:/nonexistent:/sbin/nologin' > "$root/etc/passwd"
echo 'rowcount:x:65532:' > "$root/etc/group"
# Names of /etc/hosts come first, as everywhere.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
