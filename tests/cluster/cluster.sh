#!/usr/bin/env bash
# A real SLURM of one node on this machine's loopback, without systemd and accounting, for tests; as root.
#   cluster.sh install     Debian's packages, where they are missing
#   cluster.sh up DIR      start it; what it keeps lies below DIR
#   cluster.sh down DIR    stop it
# The configuration must lie in /etc/slurm: snakemake's slurm-jobstep takes SLURM_CONF out of a job's environment. One that
# is not from here is never touched.
set -euo pipefail

MARK='# Made by roistream/tests/cluster/cluster.sh'

installed() {
    command -v slurmctld slurmd munged > /dev/null
}

stop() { # NAME: what is started here leaves its pid in DIR
    local file=$DIR/$1.pid pid
    [ -s "$file" ] || return 0
    pid=$(cat "$file")
    if [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$1" ]; then
        kill "$pid"
        for _ in $(seq 100); do
            if ! [ -d "/proc/$pid" ] || grep -q '^State:.Z' "/proc/$pid/status"; then break; fi
            sleep 0.1
        done
    fi
    rm -f "$file"
}

down() {
    if [ -s "$DIR/slurmctld.pid" ]; then
        timeout 20 scancel --user="$(id -un)" 2> /dev/null || true
        for _ in $(seq 100); do
            [ -n "$(timeout 5 squeue --noheader 2> /dev/null)" ] || break
            sleep 0.1
        done
    fi
    for name in slurmd slurmctld munged; do stop $name; done
    rmdir /sys/fs/cgroup/{memory,freezer}/slurm_localhost/{uid_0,} 2> /dev/null || true
}

memory_limits() { # real ones: cgroups (v1) where they can be written, else a look at each job every second
    if mkdir /sys/fs/cgroup/memory/slurm_probe 2> /dev/null; then
        rmdir /sys/fs/cgroup/memory/slurm_probe
        printf '%s\nCgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nAllowedRAMSpace=100\n' "$MARK" > /etc/slurm/cgroup.conf
        printf 'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n'
    else
        rm -f /etc/slurm/cgroup.conf
        printf 'ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill\n'
    fi
}

configure() {
    mkdir -p /etc/slurm "$DIR/state" "$DIR/spool"
    chmod 755 "$DIR"
    [ -s "$DIR/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom > "$DIR/munge.key")
    cat > /etc/slurm/slurm.conf << CONF
$MARK
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$DIR/munge.socket
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.pid
SlurmctldLogFile=$DIR/slurmctld.log
SlurmdLogFile=$DIR/slurmd.log
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
$(memory_limits)
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
# Tests look back at jobs that have ended.
MinJobAge=7200
KillWait=2
# A loaded machine is no dead one.
MessageTimeout=100
SlurmdTimeout=0
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=6 RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.85)}' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500
CONF
}

up() {
    local file
    for file in slurm cgroup; do
        if [ -e /etc/slurm/$file.conf ] && ! grep -qF "$MARK" /etc/slurm/$file.conf; then
            echo "/etc/slurm/$file.conf is another cluster's; it stays as it is." >&2
            exit 1
        fi
    done
    down
    configure
    munged --force --key-file="$DIR/munge.key" --socket="$DIR/munge.socket" --pid-file="$DIR/munged.pid" \
        --log-file="$DIR/munged.log" --seed-file="$DIR/munged.seed"
    slurmctld -c
    slurmd -N localhost
    for _ in $(seq 150); do
        if sinfo --noheader --format=%t 2> /dev/null | grep -qxE 'idle|mix|alloc'; then
            srun --time=1 --mem=50 true
            return
        fi
        sleep 0.2
    done
    echo "SLURM did not come up:" >&2
    tail -n 20 "$DIR"/*.log >&2
    down
    exit 1
}

unset "${!SLURM_@}" "${!SBATCH_@}" "${!SQUEUE_@}"
case ${1:-} in
    install)
        installed && exit
        apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \
            slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
        ;;
    up | down)
        mkdir -p "${2:?the folder is missing}"
        DIR=$(cd "$2" && pwd)
        "$1"
        ;;
    *)
        echo "usage: cluster.sh install | up DIR | down DIR" >&2
        exit 2
        ;;
esac
