/** A runner of StackStorm: what its actions become, or why they are not carried. */
export type Runner =
  | { reason: string }
  | {
      /** Whether the action has an entry point. */
      entry: boolean;
      /** Whether its command line is the parameter `cmd`. */
      command: boolean;
      output: "text" | "json";
      /** Its default time-out, in seconds. */
      timeout: number;
      /** The parameters that the runner itself takes. */
      parameters: Readonly<Record<string, true>>;
    };

const set = (names: string): Readonly<Record<string, true>> =>
  Object.fromEntries(names.split(" ").map((name) => [name, true] as const));
const remote =
  "Attune starts nothing on other hosts: run a worker there and select it by worker_selector, or call ssh in core.shell";
const windows = "Attune has no runner for Windows: call a client such as pywinrm in a Python action";
const workflow = "workflows are not supported by this version: let rules on core.execution_ended start what follows";
const local = "cwd env kwarg_op sudo sudo_password timeout cmd debug content_version";

/** The runners by name. */
export const runners: Readonly<Record<string, Runner>> = {
  "local-shell-cmd": { entry: false, command: true, output: "text", timeout: 60, parameters: set(local) },
  "local-shell-script": { entry: true, command: false, output: "text", timeout: 60, parameters: set(local) },
  "python-script": {
    ...{ entry: true, command: false, output: "json", timeout: 600 },
    parameters: set("env timeout log_level debug content_version"),
  },
  "http-request": {
    ...{ entry: false, command: false, output: "json", timeout: 60 },
    parameters: set(
      "url allow_redirects cookies headers http_proxy https_proxy username password verify_ssl_cert url_hosts_blacklist url_hosts_whitelist timeout",
    ),
  },
  noop: { entry: false, command: false, output: "json", timeout: 60, parameters: {} },
  inquirer: {
    ...{ entry: false, command: false, output: "json", timeout: 30 * 24 * 60 * 60 },
    parameters: set("schema route roles users ttl"),
  },
  "remote-shell-cmd": { reason: remote },
  "remote-shell-script": { reason: remote },
  "run-remote": { reason: remote },
  "run-remote-script": { reason: remote },
  "winrm-cmd": { reason: windows },
  "winrm-ps-cmd": { reason: windows },
  "winrm-ps-script": { reason: windows },
  orquesta: { reason: workflow },
  "mistral-v2": { reason: workflow },
  mistral: { reason: workflow },
  "action-chain": { reason: workflow },
  cloudslang: { reason: workflow },
  announcement: { reason: "Attune has no announcements: subscribe to events, or emit one" },
};
// The older names of the same.
export const runnerAliases: Readonly<Record<string, string>> = {
  "run-local": "local-shell-cmd",
  "run-local-script": "local-shell-script",
  "run-python": "python-script",
  "http-runner": "http-request",
};
