#!/usr/bin/env bash
# Set up what is missing on this machine, all in one cache folder, and put it first on PATH.
#
#   envs/setup.sh                    set up, nothing else
#   envs/setup.sh COMMAND [ARG...]   set up, then run the command with it:  envs/setup.sh pytest tests
#   . envs/setup.sh                  the same for a bash script
#
# The folder is $EXPRCAST_CACHE, or exprcast in $XDG_CACHE_HOME or ~/.cache. What is made there is named by a hash of what it is made
# from, so a changed lock makes a new one, and is marked .ready last, so an interrupted set-up is begun anew by the next one.
set -euo pipefail

envs=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${EXPRCAST_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set: set EXPRCAST_CACHE to a folder for downloads}/.cache}/exprcast}
uv_version=0.13.8
kb_version=0.30.2  # its wheel holds the binary of kallisto 0.52.0

say() { echo "exprcast: $*" >&2; }
die() { say "$*"; exit 1; }
key() { cat "$@" | sha256sum | cut -c -12; }

# Run a step with its noise in the log; show the log's end only when the step fails.
quietly() {
    local what=$1
    shift
    if ! "$@" >> "$cache/setup.log" 2>&1; then
        tail -n 12 "$cache/setup.log" >&2
        die "$what failed; the whole log: $cache/setup.log"
    fi
}

. "$envs/nextflow/engine.sh"
python_env=$cache/python-$(grep == "$envs/requirements.lock" | key)
uv=$cache/uv-$uv_version/bin/uv

# What a cluster's modules put into these would shadow the locked packages.
unset PYTHONPATH PYTHONHOME
kb_wheel=$cache/kb-python-$kb_version
export PATH=$python_env/bin:$PATH:$cache/debian/bedtools/usr/bin:$cache/debian/kallisto/usr/bin:$kb_wheel/kb_python/bins/linux/kallisto

# Only for lightgbm, and only where the system has no libgomp1 and we could not install it.
gomp=$cache/debian/libgomp1/usr/lib/$(uname -m)-linux-gnu
use_own_gomp() { if [ -d "$gomp" ]; then export LD_LIBRARY_PATH=$gomp${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; fi; }
use_own_gomp

# The python of an environment is a link, which dangles once that Python is removed: then -x fails and the environment is made anew.
python_ready() { [ -e "$python_env/.ready" ] && [ -x "$python_env/bin/python" ]; }
# Debian's kallisto, unpacked without root, may lack a library of the system: then it is there and does not start.
kallisto_ready() { kallisto version > /dev/null 2>&1; }
tools_ready() { type -P bedtools > /dev/null && kallisto_ready; }
all_ready() { python_ready && tools_ready && engine_ready; }

# The first python3 on PATH that is new enough and starts: a pyenv shim may stand before Debian's own and do neither.
find_python() {
    local candidate
    while read -r candidate; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            echo "$candidate"
            return
        fi
    done < <(type -ap python3 python3.14 python3.13 python3.12 python3.11)
    return 1
}

# All that is missing and cannot be had from here is said at once, in one line, before any long work.
check_prerequisites() {
    local missing=()
    python_ready || python=$(find_python) || missing+=("Python 3.11 or newer (apt-get install python3)")
    engine_ready || missing_for_engine missing
    [ ${#missing[@]} = 0 ] || die "please install first: $(printf '%s; ' "${missing[@]}" | sed 's/; $//')"
}

# Bring one Debian package: installed for root, otherwise unpacked into a folder of its own in the cache.
debian() {
    local package=$1 unpack=$cache/debian/.new apt="apt-get -o DPkg::Lock::Timeout=300"
    type -P apt-get > /dev/null || die "please install $package (apt-get install $package, or bioconda)"
    say "$package, from Debian's packages"
    if [ "$(id -u)" = 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        { $apt install -y --no-install-recommends "$package" || { $apt update && $apt install -y --no-install-recommends "$package"; }; } \
            >> "$cache/setup.log" 2>&1 < /dev/null || die "could not install $package: try apt-get install $package; the log: $cache/setup.log"
        return
    fi
    rm -rf "$unpack"
    mkdir -p "$unpack/lists/partial" "$unpack/tree"
    # A fresh machine may have no package lists yet; only root can update the system's, anybody their own.
    (cd "$unpack" && { apt-get download "$package" || { apt-get update -o "Dir::State::Lists=$unpack/lists" -o "Dir::Cache=$unpack" &&
        apt-get download -o "Dir::State::Lists=$unpack/lists" -o "Dir::Cache=$unpack" "$package"; }; } && dpkg -x ./*.deb tree) \
        >> "$cache/setup.log" 2>&1 < /dev/null || die "could not fetch $package: as root, apt-get install $package; the log: $cache/setup.log"
    rm -rf "${cache:?}/debian/$package"
    mv -T "$unpack/tree" "$cache/debian/$package"
    rm -rf "$unpack"
}

# uv installs 6 GB of packages in seconds where pip takes minutes. A Debian python3 may have no pip: then Debian's pip wheel, which runs as it is.
make_uv() {
    [ -x "$uv" ] && return
    local pip=("$python" -m pip) wheel
    if ! "${pip[@]}" --version > /dev/null 2>&1; then
        wheel=$(find_pip_wheel) || { debian python3-pip-whl && wheel=$(find_pip_wheel); } || die "please install pip for $python first"
        pip=("$python" "$wheel/pip")
    fi
    say "uv $uv_version, which installs the Python packages"
    rm -rf "$cache/uv.new"
    quietly "installing uv" "${pip[@]}" install --no-cache-dir --target "$cache/uv.new" "uv==$uv_version"
    rm -rf "${uv%/bin/uv}"
    mv -T "$cache/uv.new" "${uv%/bin/uv}"
}
find_pip_wheel() {
    local wheel
    for wheel in {,"$cache/debian/python3-pip-whl"}/usr/share/python-wheels/pip-*.whl; do
        [ ! -e "$wheel" ] || { echo "$wheel"; return; }
    done
    return 1
}

make_python_env() {
    python_ready && return
    make_uv
    # Certificates: the system's, as behind a company's proxy. Bytecode: without it every first import of torch takes 8 s.
    export UV_CACHE_DIR=${UV_CACHE_DIR:-$cache/uv-cache} UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    say "Python packages, exactly those of envs/requirements.lock (6 GB on disk)"
    rm -rf "$python_env"
    quietly "making the Python environment" "$uv" venv --python "$python" "$python_env"
    quietly "installing the Python packages" "$uv" pip sync --python "$python_env/bin/python" --compile-bytecode "$envs/requirements.lock"
    if ! "$python_env/bin/python" -c 'import lightgbm' > /dev/null 2>&1; then
        debian libgomp1
        use_own_gomp
        quietly "importing lightgbm" "$python_env/bin/python" -c 'import lightgbm'
    fi
    touch "$python_env/.ready"
}

make_tools() {
    type -P bedtools > /dev/null || debian bedtools
    kallisto_ready || (debian kallisto) || true
    kallisto_ready || { rm -rf "$cache/debian/kallisto" && kallisto_from_wheel; }
}

# The kallisto in the wheel of kb-python, without the 86 packages that kb-python itself would bring.
kallisto_from_wheel() {
    if [ ! -e "$kb_wheel/.ready" ]; then
        python=${python:-$(find_python)}
        make_uv
        say "kallisto, from the wheel of kb-python $kb_version"
        rm -rf "$kb_wheel"
        UV_SYSTEM_CERTS=1 UV_NO_PROGRESS=1 quietly "fetching kallisto" "$uv" pip install --no-cache --no-deps --python "$python" --target "$kb_wheel" "kb-python==$kb_version"
        touch "$kb_wheel/.ready"
    fi
    kallisto_ready || die "please install kallisto (apt-get install kallisto, or bioconda)"
}

if ! all_ready; then
    check_prerequisites
    mkdir -p "$cache/debian" 2> /dev/null && : >> "$cache/lock" || die "cannot write to $cache: set EXPRCAST_CACHE to a folder that you own"
    exec 9> "$cache/lock"
    flock --nonblock 9 || { say "another set-up is running, waiting for it"; flock 9; }
    if ! all_ready; then
        : > "$cache/setup.log"
        make_python_env
        make_tools
        make_engine
        say "all set up in $cache"
    fi
    exec 9>&-
fi

if [ "${BASH_SOURCE[0]}" = "$0" ] && [ $# -gt 0 ]; then
    exec "$@"
fi
