# shellcheck shell=sh
# To be sourced from the root of the checkout: where this machine keeps its Pythons.

# Those that tools/python3.9 fetches need libraries of their own release.
fetched=$PWD/build/python
export LD_LIBRARY_PATH="$fetched/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

# find_python VERSION: print the path of a Python of that version that starts; fail where there is none.
# pyenv's shims start only the versions that are switched on, so its folder of versions is looked into as well.
find_python() {
    for candidate in "python$1" "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/"$1".*/bin/python"$1" "$fetched/usr/bin/python$1"; do
        if "$candidate" -c "import ctypes, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    return 1
}

# oldest_python: print the path of a Python 3.9, the oldest of a host. Where this machine has none it is fetched (Debian and Ubuntu; see
# tools/python3.9); fail where that fails.
oldest_python() {
    mkdir -p build
    (flock 9 && { find_python 3.9 || { tools/python3.9 >&2 && find_python 3.9; }; }) 9>build/python.lock
}
