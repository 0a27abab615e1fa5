"""Runs actions as forks of an interpreter that has already started. `python.ts` starts it and describes the protocol."""

start = dict(globals())  # what every main module begins with, in this version of Python

import sys

kept = set(sys.modules)

import _signal
import _socket
import gc
import os

script = sys.argv[0]


def signature():
    """What the interpreter was started from: when that changes, this process is out of date."""
    places = [sys.executable, os.__file__, os.path.join(sys.prefix, "pyvenv.cfg"), *sys.path]
    found = []
    for place in places:
        try:
            stat = os.stat(place)
            found.append((place, stat.st_ino, stat.st_mtime_ns))
        except OSError:
            found.append((place, 0, 0))
    return found


def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def memory():
    """Returns the places of the arguments and of the environment that the system shows of this process."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return [int(field) for field in fields[45:49]]


def show(places, arguments, environment):
    """Lets the system show these arguments and this environment: by them the processes of a lost worker are found."""
    argument_start, argument_end, environment_start, environment_end = places
    file = os.open("/proc/self/mem", os.O_RDWR)
    try:
        for first, end, words in (
            (argument_start, argument_end, arguments),
            (environment_start, environment_end, environment),
        ):
            room = end - first
            text = b"".join(word + b"\0" for word in words)[: room - 1]
            os.pwrite(file, text.ljust(room, b"\0"), first)
    finally:
        os.close(file)


def is_own(number):
    """Returns whether the interpreter opened that file itself: what it inherited, actions inherit too."""
    try:
        return int(number) > 2 and not os.get_inheritable(int(number))
    except OSError:
        return False  # the listing itself


def objection():
    """Returns why actions cannot be forked from this process; None when they can."""
    if len(os.listdir("/proc/self/task")) > 1:
        return "it has threads when it starts"
    if any(map(is_own, os.listdir("/proc/self/fd"))):
        return "it has open files when it starts"
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return "it is traced"
    with open("/proc/self/cmdline", "rb") as file:
        arguments = file.read().split(b"\0")
    if os.fsencode(script) not in arguments:
        return "its arguments are not its own"
    file = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(file, os.pread(file, 1, memory()[2]), memory()[2])
    os.close(file)
    return None


unread = b""


def receive(file):
    """Returns the next request; None when its sender has ended."""
    global unread
    while True:
        size, end, rest = unread.partition(b"\n")
        if end and len(rest) >= int(size):
            unread = rest[int(size) :]
            return rest[: int(size)]
        more = os.read(file, 65536)
        if not more:
            return None
        unread += more


children = {}


def reap(*_):
    for pid, token in list(children.items()):
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue  # a signal that came meanwhile has brought it
        if found == 0:
            continue
        del children[pid]
        if token is None:
            continue
        if os.WIFSIGNALED(status):
            say("exit", token, -os.WTERMSIG(status))
        else:
            say("exit", token, os.WEXITSTATUS(status))


def end_all():
    for pid in list(children):
        for end in (os.killpg, os.kill):
            try:
                end(pid, _signal.SIGKILL)
            except OSError:
                pass


class Request:
    def __init__(self, data):
        fields = data.decode("utf-8", "surrogateescape").split("\0")
        self.data = data
        self.token, self.address, self.stdin, self.directory, count, *rest = fields
        self.arguments = rest[: int(count)]
        self.variables = dict(each.split("=", 1) for each in rest[int(count) :])
        self.path = self.arguments[0]
        self.source = b""

    def text(self):
        return str(len(self.data)).encode() + b"\n" + self.data

    def objection(self):
        """Reads the action's file. Returns why it cannot be run here."""
        if not self.path.startswith("/") or not self.path.endswith(".py"):
            return "not a file of Python with an absolute path"
        try:
            with open(self.path, "rb") as file:
                self.source = file.read()
            names = os.listdir(self.folder())
        except OSError as error:
            return error.strerror
        if b"\0" in self.source:
            return "its file has NUL"
        if any(name.partition(".")[0] in preloaded for name in names):
            return "its directory has a module with the name of one that was imported before"
        return None

    def folder(self):
        return os.path.dirname(os.path.realpath(self.path))


def populate():
    """Copies the memory that is shared with the parent now, while nothing waits for it."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is None:
        return
    advise = ctypes.CDLL(None).madvise
    with open("/proc/self/maps") as file:
        for line in file.read().splitlines():
            place, access, *_ = line.split()
            if access == "rw-p":
                first, end = (int(each, 16) for each in place.split("-"))
                advise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), 23)  # MADV_POPULATE_WRITE


def fork():
    """Forks a child that waits for its request. Returns its id and where to write the request; in the child, the request."""
    global unread
    reading, writing = os.pipe()
    pid = os.fork()
    if pid != 0:
        os.close(reading)
        children[pid] = None
        return pid, writing
    try:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.setsid()
        os.close(writing)
        for number in (0, 1):
            os.dup2(2, number)  # the end of the worker's pipes must not wait for this process
        unread = b""
        populate()
        data = receive(reading)
        if data is None:
            os._exit(1)
        os.close(reading)
        request = Request(data)
        become(request)
        return request
    except BaseException:
        os._exit(1)  # nothing of the action has run: the worker starts it in another way


def serve():
    """Lets a child perform each request. Returns the request in the child, and never in the parent."""
    _signal.signal(_signal.SIGCHLD, reap)
    started = signature()
    spare = None
    say("ready")
    while True:
        try:
            spare = spare if spare is not None and spare[0] in children else fork()
        except OSError:
            spare = None
        if isinstance(spare, Request):
            return spare
        data = receive(0)
        if data is None:
            end_all()
            os._exit(0)
        request = Request(data)
        reason = request.objection() if signature() == started else "stale"
        if reason is None and spare is None:
            reason = "no process could be forked"
        if reason is not None:
            say("refused", request.token, reason)
            continue
        pid, writing = spare
        spare = None
        children[pid] = request.token
        text = request.text()
        try:
            while text:
                text = text[os.write(writing, text) :]
        except OSError:
            pass  # it has ended, and will be reaped
        os.close(writing)
        reap()


def connect(request, stream):
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(os.fsencode(request.address))
    connection.sendall("{} {} {}\n".format(request.token, stream, os.getpid()).encode())
    return connection.detach()


def become(request):
    """Makes this process what a new one for the action would be, and waits until it may begin."""
    if request.objection() is not None:
        os._exit(1)
    os.chdir(request.directory)
    set_environment(request)
    set_modules(request)
    places = [os.open("/dev/null", os.O_RDONLY) if request.stdin == "null" else connect(request, 0)]
    places += [connect(request, 2), connect(request, 1)]
    if os.read(places[2], 1) == b"":
        os._exit(1)
    for place, number in zip(places, (0, 2, 1)):
        os.dup2(place, number)
        os.close(place)
    if request.stdin == "null":
        sys.stdin = sys.__stdin__ = text_input()


def text_input():
    import io

    old = sys.stdin
    buffer = io.open(0, "rb", -1, closefd=False)
    buffer.raw.name = "<stdin>"
    text = io.TextIOWrapper(
        buffer, old.encoding, old.errors, newline="\n", line_buffering=False, write_through=old.write_through
    )
    text.mode = "r"
    return text


def set_environment(request):
    environment = dict(os.environ)
    environment.pop("ATTUNE_ROOM")
    environment = {name: request.path if value == script else value for name, value in environment.items()}
    home = environment.get("HOME")
    environment.update(request.variables)
    # All of them again: those of the start are in the memory that is overwritten below.
    os.environ.clear()
    os.environ.update(environment)
    with open("/proc/self/cmdline", "rb") as file:
        arguments = file.read().split(b"\0")
    before = arguments[: arguments.index(os.fsencode(script))]
    own = sorted(environment.items(), key=lambda item: item[0] not in request.variables)
    show(
        memory(),
        before + [os.fsencode(each) for each in request.arguments],
        [os.fsencode(name + "=" + value) for name, value in own],
    )
    site = sys.modules.get("site")
    if site is not None and environment.get("HOME") != home and site.ENABLE_USER_SITE is not None:
        site.USER_BASE = site.USER_SITE = None
        site.getusersitepackages()


def set_modules(request):
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, request.folder())
    sys.argv[:] = request.arguments
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[sys.orig_argv.index(script) :] = request.arguments
    for name in set(sys.modules) - kept:
        del sys.modules[name]
    main = type(sys)("__main__")
    main.__dict__.clear()
    main.__dict__.update(start, __doc__=None, __file__=request.path)
    if "__annotations__" in start:
        main.__annotations__ = {}
    main.__loader__ = type(start["__loader__"])("__main__", request.path)
    sys.modules["__main__"] = main


def without_caller():
    """Lets the exception that ends the action be shown as if this file had not called it."""
    shown = sys.excepthook

    def hook(kind, error, trace):
        sys.excepthook = shown
        while trace is not None and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
        error.__traceback__ = sys.last_traceback = trace
        try:
            shown(kind, error, trace)
        except SystemExit:
            raise
        except BaseException as other:
            other.__context__ = None
            sys.stderr.write("Error in sys.excepthook:\n")
            other.__traceback__ = other.__traceback__.tb_next
            sys.__excepthook__(type(other), other, other.__traceback__)
            sys.stderr.write("\nOriginal exception was:\n")
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook


if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]
before = set(sys.modules)
try:
    __import__("json")  # most actions begin with it
    __import__("ctypes")  # for populate()
    reason = objection()
except Exception as error:
    reason = repr(error)
preloaded = {name.partition(".")[0] for name in set(sys.modules) - before}
kept |= set(sys.modules) - before
if reason is not None:
    say("unsupported", reason)
    os._exit(0)
gc.freeze()  # what was there before is not looked at, and so not copied, when an action's process ends
request = serve()
try:
    exec(compile(request.source, request.path, "exec", dont_inherit=True), sys.modules["__main__"].__dict__)
except BaseException:
    without_caller()
    raise
