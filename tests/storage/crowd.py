"""Several processes at once, from one import: forked by a child that has opened no database yet.

The first line of `CROWD + script` is a function `crowd(number, work)`; the script's stdin gives the
sign to start. A worker's exception is printed to stderr.
"""

CROWD = """
import ctypes, os, signal, sys, traceback

def crowd(number, work):
    gate, opener = os.pipe()
    workers = {}
    for me in range(number):
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # no worker outlives the crowd
            os.read(gate, 1)
            try:
                work(me)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            sys.stdout.flush()
            os._exit(0)
        workers[pid] = me
    print(*workers, flush=True)
    sys.stdin.readline()
    os.close(gate)
    os.close(opener)
    while workers:
        pid, status = os.wait()
        del workers[pid]
"""
