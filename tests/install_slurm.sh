#!/bin/sh
# Installs Debian's SLURM for `make test-slurm` where it is missing and that may be done; else says what is missing.
PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch srun scancel; do
    command -v $program > /dev/null || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
[ "$(id -u)" = 0 ] || sudo="sudo -n"
if command -v apt-get > /dev/null && ${sudo:-env} true 2> /dev/null; then
    $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends slurm-wlm munge && exit 0
fi
echo "test-slurm: no$missing; install slurm-wlm and munge (root and apt-get would do it here)" >&2
exit 1
