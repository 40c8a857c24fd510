"""An RTSP server on GStreamer; run by Debian's python3, which has its bindings.

usage: rtsp_server.py PORT path=pattern … ; each path is 1280x720 H.264 at 15 frames per second.
"""

import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( videotestsrc is-live=true pattern={} ! "
    "video/x-raw,format=I420,width=1280,height=720,framerate=15/1 ! {} ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=2000 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
for argument in sys.argv[2:]:
    path, _, pattern = argument.partition("=")
    factory = GstRtspServer.RTSPMediaFactory()
    # A still picture: without the clock in it every frame is the same to the last bit.
    still = path == "still"
    factory.set_launch(LAUNCH.format(pattern, "identity" if still else "timeoverlay"))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/" + path, factory)
if not server.attach(None):  # it says nothing when the port is taken
    sys.exit("the port is in use")
loop = GLib.MainLoop()
for number in (signal.SIGTERM, signal.SIGINT):
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
sys.stdout.write("ready\n")
sys.stdout.flush()
loop.run()
