#!/bin/sh
# Runs systemd as the first process of a container: container.sh keep GROUP ROLLCALL UNIT [COMMAND...]. It says "pid N", where N is that
# process here, and ends it when its standard input ends: so nothing is left when the test has failed, or is gone.
#
# The container has namespaces of its own for everything but users, and a root of its own, in memory: of this machine it sees /usr
# alone, which it cannot write, and neither /tmp, /run, /var nor /dev. Of the units that systemd brings it has the few that are named below. It
# cannot set the clock, load modules or write /proc/sys. COMMAND, in place of systemd, is to look at it.
set -eu
self=$0 role=$1 group=$2
shift 2
memory=$((512 << 20)) # that the container may have
here=/sys/fs/cgroup
if [ -e $here/cgroup.controllers ]; then hierarchies=.
else hierarchies=$(cd $here && ls -d systemd memory pids devices cpu cpuacct 2>/dev/null)
fi

case $role in
keep)
	trap '' HUP INT TERM PIPE
	child= root=
	finish() {
		trap - EXIT
		if [ -z "$child" ]; then echo "not made"
		else
			kill -9 "$child" 2>/dev/null || true # and with it the container's first process, and all others
			wait "$child" || true
		fi
		left=0
		for h in $hierarchies; do
			until [ ! -d "$here/$h/$group" ] || find "$here/$h/$group" -depth -type d -exec rmdir {} + 2>/dev/null; do
				left=$((left + 1)) # those that were killed take a moment to be gone
				[ $left -lt 200 ] || { echo "$here/$h/$group is not empty"; exit 1; }
				sleep 0.1
			done
		done
		[ -z "$root" ] || rmdir "$root"
		exit 0
	}
	trap finish EXIT
	for h in $hierarchies; do mkdir "$here/$h/$group"; done
	for f in $here/$group/memory.max $here/memory/$group/memory.limit_in_bytes; do [ ! -e "$f" ] || echo "$memory" >"$f"; done
	root=$(mktemp -d) # an empty folder to mount on, which the container alone sees
	unshare --mount --pid --fork --kill-child --uts --ipc --net --propagation private sh "$self" enter "$group" "$root" "$@" </dev/null &
	child=$!
	cat >/dev/null
	;;

enter) # a new process, number 1 of its namespace
	trap 'echo "not made"' EXIT
	read -r pid rest </proc/self/stat # what it is called outside, for that is whose /proc it is
	for h in $hierarchies; do echo 0 >"$here/$h/$group/cgroup.procs"; done
	exec unshare --cgroup sh "$self" build "$group" "$pid" "$@"
	;;

build)
	trap 'echo "not made"' EXIT
	pid=$1 root=$2 program=$3 unit=$4
	shift 4
	mount -t tmpfs -o mode=755,size=256m none "$root"
	cd "$root"
	mkdir dev etc proc run sys usr var .old
	mkdir -p var/lib var/tmp
	install -d -m 1777 tmp var/tmp
	for d in bin lib lib32 lib64 libx32 sbin; do [ ! -L /$d ] || ln -s usr/$d $d; done
	mount --bind /usr usr
	mount -o remount,bind,ro usr

	# What is written over /usr: the program, and the units. No generators, no environment of users.
	mount -t tmpfs -o mode=755 none usr/local
	install -D "$program" usr/local/bin/rollcall
	units=usr/lib/systemd/system
	mkdir .units
	for u in basic exit final local-fs local-fs-pre multi-user network network-online paths shutdown slices sockets swap sysinit timers umount; do
		cp $units/$u.target .units/
	done
	for u in exit.service journald.service journald.socket journald-dev-log.socket; do cp $units/systemd-$u .units/; done
	mount --bind .units $units
	for d in usr/lib/systemd/system-generators usr/lib/systemd/system-environment-generators; do
		[ ! -d $d ] || mount -t tmpfs -o mode=755,ro none $d
	done
	mkdir -p etc/systemd/system/sockets.target.wants
	for u in systemd-journald.socket systemd-journald-dev-log.socket; do ln -s /$units/$u etc/systemd/system/sockets.target.wants/; done
	cp "$unit" etc/systemd/system/rollcall.service

	printf 'root:x:0:0:root:/root:/bin/sh\nrollcall:x:990:990:rollcall:/var/lib/rollcall:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n' >etc/passwd
	printf 'root:x:0:\nrollcall:x:990:\nnogroup:x:65534:\n' >etc/group
	printf 'passwd: files\ngroup: files\nhosts: files\n' >etc/nsswitch.conf
	printf '127.0.0.1 localhost\n' >etc/hosts
	cp /etc/ld.so.cache etc/ 2>/dev/null || true
	: >etc/machine-id
	: >etc/fstab

	mount -t proc -o nosuid,nodev,noexec none proc
	for f in proc/sys proc/sysrq-trigger proc/irq proc/bus proc/fs; do
		[ ! -e $f ] || { mount --bind $f $f && mount -o remount,bind,ro $f; }
	done
	mount -t sysfs -o ro,nosuid,nodev,noexec none sys
	if [ "$hierarchies" = . ]; then mount -t cgroup2 none sys/fs/cgroup
	else
		mount -t tmpfs -o mode=755 none sys/fs/cgroup
		for h in $hierarchies; do
			mkdir sys/fs/cgroup/$h
			options=$h
			[ $h != systemd ] || options=none,name=systemd
			mount -t cgroup -o $options none sys/fs/cgroup/$h
		done
		mount -o remount,ro sys/fs/cgroup
	fi
	mount -t tmpfs -o mode=755 none dev
	for n in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
		# shellcheck disable=SC2086 # a name and two numbers
		mknod -m 666 dev/${n%% *} c ${n#* }
	done
	mkdir dev/pts dev/shm
	mount -t devpts -o newinstance,ptmxmode=0666,mode=620 none dev/pts
	ln -s pts/ptmx dev/ptmx
	mount -t tmpfs none dev/shm
	mount -t tmpfs -o mode=755 none run

	pivot_root . .old
	cd /
	umount -l /.old
	rmdir /.old
	hostname container
	[ $# -gt 0 ] || set -- /lib/systemd/systemd --system --unit=multi-user.target
	echo "pid $pid"
	exec setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override,-wake_alarm,-block_suspend,-perfmon,-bpf \
		env -i container=rollcall PATH=/usr/local/bin:/usr/bin:/usr/sbin "$@"
	;;
esac
