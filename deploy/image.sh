#!/bin/bash
# Builds the image with buildah, without a daemon, a registry or a container: image.sh BINARY DIRECTORY [REVISION]. The
# Dockerfile's last stage is built from the static BINARY; the image is DIRECTORY/rowcount.tar, for `docker load`.
set -euo pipefail
binary=$1 directory=$(realpath -m "$2") revision=${3:-unknown}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

rm -rf "$directory/context" "$directory/rowcount.tar"
mkdir -p "$directory/context"
deploy/rootfs.sh "$binary" "$directory/context/rootfs"
sed -n '/^FROM scratch/,$p' Dockerfile | sed 's|^COPY --from=build /rootfs/ /|COPY rootfs/ /|' \
  > "$directory/context/Dockerfile"

# Storage of its own, and no driver that needs the kernel's help. Docker's format, since OCI's knows no HEALTHCHECK.
buildah=(buildah --storage-driver vfs --root "$directory/storage" --runroot "$directory/run")
"${buildah[@]}" build --quiet --format docker --isolation chroot --timestamp 0 \
  --build-arg VERSION="$version" --build-arg REVISION="$revision" --tag "rowcount:$version" "$directory/context" > /dev/null
"${buildah[@]}" push --quiet "rowcount:$version" "docker-archive:$directory/rowcount.tar:rowcount:$version"
rm -rf "$directory/context"
echo "$directory/rowcount.tar: rowcount:$version, $(stat -c %s "$directory/rowcount.tar") bytes"
