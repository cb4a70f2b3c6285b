#!/bin/sh
# usage: kubectl.sh TARGET
#
# Makes sure that a kubectl which can render these manifests is on the PATH or at TARGET. That of
# Debian 12 is too old (its kustomize has no components), so the program is taken out of Debian 13's
# package, from the mirror that apt is set up with. Nothing is installed and root is not needed.
set -eu

target=$1
manifests=$(cd "$(dirname "$0")" && pwd)/overlays/example

renders() { "$1" kustomize "$manifests" > /dev/null 2>&1; }
if renders kubectl || renders "$target"; then exit 0; fi

command -v apt-get > /dev/null || { echo "install kubectl 1.21 or later" >&2; exit 1; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' \
  | grep --invert-match security | head --lines 1)
[ -n "$mirror" ] || { echo "apt has no mirror: install kubectl 1.21 or later" >&2; exit 1; }

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror trixie main" > "$work/parts/trixie.list"

fetch() {
  apt-get --quiet --quiet \
    --option Dir::Etc::SourceList=/dev/null \
    --option Dir::Etc::SourceParts="$work/parts" \
    --option Dir::State::Lists="$work/lists" \
    --option Dir::State::Status=/dev/null \
    --option Dir::Cache="$work/cache" \
    --option APT::Sandbox::User="$(id --user --name)" \
    "$@"
}
(cd "$work" && fetch update && fetch download kubectl && dpkg-deb --extract kubectl_*.deb .)
install -D "$work/usr/bin/kubectl" "$target"
renders "$target"
