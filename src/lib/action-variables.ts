/** The variables that actions get from the server's environment, by their single names: a prefix would let the server's own settings pass. */
const passed = [
  ...["PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE"],
  ...["LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"],
  ...["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"],
  ...["SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"],
];

/** Returns the variables of the environment that actions get: the documented ones and those named by `more`, as far as they are set. */
export function actionVariables(env: NodeJS.ProcessEnv, more: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    [...passed, ...more].flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
}

/** Returns the variables that configure pip and npm: they are for builds of environments only, because they may hold credentials of registries. */
export function buildVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      /^(PIP_|NPM_CONFIG_|npm_config_)/.test(name) && value !== undefined ? [[name, value]] : [],
    ),
  );
}

/** The variables by which Docker and Podman find their configuration. */
const engine = [
  ...["HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "REGISTRY_AUTH_FILE"],
  ...["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"],
  ...["CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF"],
];

/** Returns the variables that the engine of containers gets, and its containers do not. */
export function engineVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(engine.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
