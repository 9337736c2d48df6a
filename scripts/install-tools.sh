#!/usr/bin/env bash
# Installs what the tests need beyond Go: a C compiler (for the race detector), PostgreSQL (tests start servers of their own),
# Python (the reference XML parser, and slixmpp), Node.js (@xmpp/client, strophe.js, playwright-core), Java (Smack), go-sendxmpp,
# Chromium, nginx, Caddy, iproute2 (network namespaces) and systemd (for a container; it is not started here). Debian packages only
# as root on a system with apt-get; the Python and npm packages, at the versions and checksums pinned in e2e/, into e2e/.venv and
# e2e/node_modules; Converse.js into e2e/converse; Pebble, a certificate authority for tests, into e2e/bin. What it cannot install it
# names; exit status 1 then.
set -u
cd "$(dirname "$0")/.."
failed=0
missing() { echo "install-tools: missing: $*" >&2; failed=1; }
has() { command -v "$1" >/dev/null 2>&1; }

# The Python for e2e/.venv. On Debian the system's own, which python3-venv belongs to.
python=python3
[ ! -f /etc/debian_version ] || python=/usr/bin/python3

# debian PACKAGE COMMAND...: the package is wanted unless the command succeeds.
wanted=()
debian() {
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || wanted+=("$package")
}
debian ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
debian gcc has "${CC:-gcc}"
debian libc6-dev test -e /usr/include/stdlib.h
debian postgresql eval 'has initdb || ls /usr/lib/postgresql/*/bin/initdb'
debian python3 has "$python"
debian python3-venv "$python" -c 'import ensurepip, venv'
debian nodejs has node
debian npm has npm
debian default-jdk-headless has javac
debian maven has mvn
debian curl has curl
debian go-sendxmpp has go-sendxmpp
debian chromium has chromium
debian nginx-light test -x /usr/sbin/nginx
debian caddy has caddy
debian iproute2 has ip
debian systemd test -x /lib/systemd/systemd

if [ ${#wanted[@]} -gt 0 ]; then
	if ! has apt-get; then
		missing "${wanted[*]} (Debian's names; there is no apt-get here)"
	elif [ "$(id -u)" != 0 ]; then
		missing "${wanted[*]} (to install Debian packages, run as root: apt-get install ${wanted[*]})"
	else
		echo "install-tools: apt-get install ${wanted[*]}"
		mkdir -p artifacts
		# Debian's postgresql makes a cluster and runs it, unless this says otherwise; the tests need the programs only.
		cluster=/etc/postgresql-common/createcluster.conf
		if [[ " ${wanted[*]} " == *" postgresql "* ]] && [ ! -e $cluster ]; then
			mkdir -p "${cluster%/*}"
			echo 'create_main_cluster = false' >$cluster
		fi
		export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
		{ apt-get update -q && apt-get install -qy --no-install-recommends "${wanted[@]}"; } >artifacts/apt.log 2>&1 ||
			{ tail -n 20 artifacts/apt.log >&2; missing "${wanted[*]} (apt-get failed, see above)"; }
	fi
fi

# Each of the two below leaves a copy of what it installed from, so that it is done again when that changes.
cd e2e
if ! cmp -s requirements.txt .venv/requirements.txt; then
	echo "install-tools: slixmpp into e2e/.venv"
	rm -rf .venv
	if "$python" -m venv .venv &&
		.venv/bin/pip install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements.txt
	then cp requirements.txt .venv/
	else missing "slixmpp (needs Python 3.11 or later with venv, and PyPI)"; fi
fi
if ! cmp -s package-lock.json node_modules/.installed-from; then
	echo "install-tools: npm packages into e2e/node_modules"
	if has npm && npm ci --silent
	then cp package-lock.json node_modules/.installed-from
	else missing "npm packages (need npm and its registry)"; fi
fi

# Of Converse.js the package alone, which is built: its dependencies, 70 packages, are for those who build it.
converse=14.0.0
converse_sum=2c5520d37d230da955e3bbc8fefc953ea60f65f2585c56ee6eaf2fd1c1437b6cd735e786124dd4a74163fd64f34fab7ee9da3e700213a32ef77808fb44d0e3d9
if [ "$(cat converse/version 2>/dev/null)" != "$converse" ]; then
	echo "install-tools: Converse.js into e2e/converse"
	rm -rf converse && mkdir converse
	if has npm && (cd converse && npm pack --silent "converse.js@$converse" >/dev/null &&
		echo "$converse_sum  converse.js-$converse.tgz" | sha512sum --check --quiet &&
		tar -xzf "converse.js-$converse.tgz" --strip-components=1 package/dist && rm "converse.js-$converse.tgz")
	then echo "$converse" >converse/version
	else missing "Converse.js (needs npm and its registry)"; fi
fi

# Pebble is installed by its version, which Go's checksum database vouches for; it is no dependency of this module.
pebble=v2.10.3
if [ "$(cat bin/pebble.version 2>/dev/null)" != "$pebble" ]; then
	echo "install-tools: Pebble into e2e/bin"
	if GOBIN=$PWD/bin go install "github.com/letsencrypt/pebble/v2/cmd/pebble@$pebble"
	then echo "$pebble" >bin/pebble.version
	else missing "Pebble (needs Go and a module proxy)"; fi
fi

# Smack is a few jars that clients/smack/pom.xml names, at the checksums beside it, and a client made with them.
smack=$(cat clients/smack/* | sha256sum)
if [ "$(cat bin/smack/version 2>/dev/null)" != "$smack" ]; then
	echo "install-tools: a client made with Smack into e2e/bin"
	rm -rf bin/smack && mkdir -p bin/smack
	if has javac && has mvn &&
		mvn -q -B -f clients/smack/pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/bin/smack" &&
		(cd bin/smack && sha256sum --check --quiet ../../clients/smack/jars.sha256) &&
		javac -cp 'bin/smack/*' -d bin/smack clients/smack/SmackClient.java
	then echo "$smack" >bin/smack/version
	else missing "Smack (needs a JDK, 11 or later, Maven and its repository)"; fi
fi

# go-xmpp, a client that speaks SASL2 and FAST, has a module of its own: it is no dependency of this one.
goxmpp=$(cat clients/goxmpp/* | sha256sum)
if [ "$(cat bin/goxmpp.version 2>/dev/null)" != "$goxmpp" ]; then
	echo "install-tools: a client made with go-xmpp into e2e/bin"
	if go build -C clients/goxmpp -o ../../bin/goxmpp .
	then echo "$goxmpp" >bin/goxmpp.version
	else missing "go-xmpp (needs Go and a module proxy)"; fi
fi
exit $failed
