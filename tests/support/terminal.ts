import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { inject } from "vitest";

/** Runs a command on a terminal, by default of the width 0, as a new one has; types the text once `prompt` is there. Returns what the terminal shows. */
export async function onTerminal(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  { prompt = "never", typed = "", columns = 0 } = {},
): Promise<{ shown: string; code: number | null }> {
  const script = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[4]), 0, 0))
    os.execvp(sys.argv[5], sys.argv[5:])
shown = b""
typed = False
while True:
    try:
        chunk = os.read(fd, 65536)
    except OSError:
        break
    if not chunk:
        break
    shown += chunk
    sys.stdout.buffer.write(chunk)
    if not typed and sys.argv[2].encode() in shown:
        typed = True
        os.write(fd, sys.argv[3].encode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
  const command = [process.execPath, "--liftoff-only", inject("program"), ...args];
  const child = spawn("python3", ["-c", script, "-", prompt, typed, String(columns), ...command], {
    env: { PATH: process.env["PATH"] ?? "", TERM: "xterm", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [shown] = await Promise.all([text(child.stdout), once(child, "exit")]);
  return { shown, code: child.exitCode };
}
