#!/bin/sh
# Installs Debian's qemu-user for `make test-chips` where it is missing and that may be done; else says what is missing.
command -v qemu-x86_64 > /dev/null && exit 0
[ "$(id -u)" = 0 ] || sudo="sudo -n"
if command -v apt-get > /dev/null && ${sudo:-env} true 2> /dev/null; then
    $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends qemu-user && exit 0
fi
echo "test-chips: no qemu-x86_64; install qemu-user (root and apt-get would do it here)" >&2
exit 1
