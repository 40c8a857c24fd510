#!/usr/bin/env bash
# Installs what the tests drive beside Python: a browser, an RTSP server, Prometheus, axe for accessibility.
# Needs root and Debian's apt for the first three, npm for the last; without them those tests skip and say so.
set -u
cd "$(dirname "$0")/.."
packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v prometheus >/dev/null || packages+=(prometheus)
/usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null || packages+=(
  gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x)
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing for the tests: ${packages[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } \
      >/dev/null 2>&1 || echo "could not install ${packages[*]}: the tests that need them will skip"
  else
    echo "not root, or no apt: tests that need ${packages[*]} will skip"
  fi
fi
if [ ! -f node_modules/axe-core/axe.min.js ]; then
  if command -v npm >/dev/null; then
    npm install --no-save --no-package-lock --ignore-scripts --silent >/dev/null 2>&1 || echo "npm could not fetch axe-core: its tests will skip"
  else
    echo "no npm: the accessibility tests will skip"
  fi
fi
exit 0
