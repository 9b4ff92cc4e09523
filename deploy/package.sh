#!/usr/bin/env bash
# Builds what people install into one folder: a Python wheel (`pip install phantasia`), an archive of the program with its man pages and
# completions (what `cargo binstall` takes), and a Debian package of the same.
#
#   deploy/package.sh [OUT] [TARGET]
#
# OUT is `target/packages` and TARGET this machine's. Needs maturin; on Linux also ziglang (both by pip), which links against a glibc as
# old as 2.28 (Debian 10, RHEL 8), whatever this machine has. The Debian package needs `dpkg-deb`, and is left out without it.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-target/packages}
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# the wheel; the program in it is the one of the other packages too
options=(--release --locked --target "$target" --out "$work/wheel")
case $target in
  *-linux-gnu) options+=(--zig --compatibility manylinux_2_28) ;;
esac
maturin build "${options[@]}"
wheel=$(echo "$work"/wheel/*.whl)
python3 -m zipfile -e "$wheel" "$work/unpacked"
program=$(find "$work/unpacked" -path '*.data/scripts/phantasia*' -type f)
chmod 755 "$program"

# the archive
name=phantasia-$version-$target
tree=$work/$name
mkdir -p "$tree/man" "$tree/completions"
cp "$program" README.md CHANGELOG.md LICENSE-* "$tree/"
for notice in crates/*/NOTICE crates/clip/src/embedded/NOTICE; do
  printf '%s\n\n' "== $notice"
  cat "$notice"
  echo
done >"$tree/NOTICE"
# completions and man pages are the program's own words, so it has to run here
if "$program" --version >/dev/null 2>&1; then
  "$program" completions bash >"$tree/completions/phantasia.bash"
  "$program" completions zsh >"$tree/completions/_phantasia"
  "$program" completions fish >"$tree/completions/phantasia.fish"
  "$program" man "$tree/man"
else
  echo "the program for $target does not run here: its archive has no man pages and completions" >&2
fi
tar -C "$work" -czf "$work/$name.tar.gz" "$name"

# the Debian package
if [[ $target == *-linux-gnu ]] && command -v dpkg-deb >/dev/null; then
  case $target in
    x86_64-*) architecture=amd64 ;;
    aarch64-*) architecture=arm64 ;;
    *) architecture=${target%%-*} ;;
  esac
  root=$work/deb
  install -Dm755 "$program" "$root/usr/bin/phantasia"
  share=$root/usr/share
  install -Dm644 -t "$share/doc/phantasia" README.md CHANGELOG.md "$tree/NOTICE"
  { cat LICENSE-MIT; echo; cat LICENSE-APACHE; } >"$share/doc/phantasia/copyright"
  if [[ -n $(ls "$tree/man") ]]; then
    install -Dm644 -t "$share/man/man1" "$tree"/man/*.1
    gzip -9n "$share"/man/man1/*.1
    install -Dm644 "$tree/completions/phantasia.bash" "$share/bash-completion/completions/phantasia"
    install -Dm644 -t "$share/zsh/vendor-completions" "$tree/completions/_phantasia"
    install -Dm644 -t "$share/fish/vendor_completions.d" "$tree/completions/phantasia.fish"
  fi
  mkdir "$root/DEBIAN"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: phantasia
Version: $version
Architecture: $architecture
Maintainer: The Phantasia authors <phantasia@localhost>
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: libc6 (>= 2.28), libgcc-s1
Recommends: libx11-6, libxcursor1
Suggests: ffmpeg
Section: graphics
Priority: optional
Description: CLIP-guided generative art
 Write what you want to see: CLIP measures how far a picture is from your
 words, and the gradient of that distance, taken back to the pixels, paints.
CONTROL
  dpkg-deb --root-owner-group --build "$root" "$work/phantasia_${version}_$architecture.deb" >/dev/null
fi

# whole files alone take their places
for file in "$wheel" "$work"/*.tar.gz "$work"/*.deb; do
  [[ -e $file ]] || continue
  cp "$file" "$out/.$(basename "$file").part"
  mv "$out/.$(basename "$file").part" "$out/$(basename "$file")"
done
cd "$out"
# as macOS names it
command -v sha256sum >/dev/null || sha256sum() { shasum -a 256 "$@"; }
shopt -s nullglob
sha256sum -- *.whl *.tar.gz *.deb >.SHA256SUMS.part
mv .SHA256SUMS.part SHA256SUMS
ls -l
