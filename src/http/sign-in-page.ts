import { linkCommand } from "../lib/program.ts";

// The token of a link is in the fragment, which no log, Referer or link preview contains. The page reads and posts it.
const script = `
const part = (id) => document.getElementById(id);
const say = (text) => { part("status").textContent = text; };
const show = (id) => { for (const each of ["form", "signed-in"]) part(each).hidden = each !== id; };
const unreachable = () => say("The server cannot be reached.");
const post = async (path, body) => {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  return { ok: response.ok, body: await response.json() };
};
const ask = async (query, variables) => (await post("/graphql", { query, variables })).body.data;

async function useLink(token) {
  history.replaceState(null, "", location.pathname);
  say("Signing in…");
  show(null);
  const { ok, body } = await post("/sign-in", { token });
  if (ok) return location.replace("/graphql");
  await showState();
  say(body.error);
}

async function showState() {
  const login = (await ask("{ viewer { identity { login } } }"))?.viewer?.identity?.login;
  show(login ? "signed-in" : "form");
  say(login ? "You are signed in as " + login + "." : "");
  if (!login) part("login").focus();
}

part("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = { login: part("login").value, password: part("password").value };
  try {
    const data = await ask("mutation($input: SignInInput!) { signIn(input: $input) { __typename ... on Error { message } } }", { input });
    if (data?.signIn?.__typename === "SignInPayload") return location.assign("/graphql");
    say(data?.signIn?.message ?? "The sign-in failed.");
    part("password").value = "";
    part("password").focus();
  } catch { unreachable(); }
});
part("sign-out").addEventListener("click", async () => {
  try {
    await ask("mutation { signOut(input: {}) { __typename } }");
    await showState();
    say("You are signed out.");
  } catch { unreachable(); }
});

const begin = () => {
  const token = location.hash.slice(1);
  (token ? useLink(token) : showState()).catch(unreachable);
};
addEventListener("hashchange", begin); // another link in the same tab
begin();
`;

/** The page at `/sign-in`: signs in by a link's token or by login and password, says who is signed in, and signs out. */
export const signInPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in to Attune</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:16vh auto;padding:0 1rem}
label{display:block;margin-top:1rem}
input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}
button{font:inherit;margin-top:1rem;padding:.4rem 1rem}
small{display:block;margin-top:2rem}
</style></head>
<body><h1>Attune</h1><p role="status" id="status"></p>
<form id="form" hidden>
<label for="login">Login</label><input id="login" name="login" autocomplete="username" required>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
<small>Without a password use a sign-in link: <code>${linkCommand}</code> prints one where the server runs.</small>
</form>
<div id="signed-in" hidden><p><a href="/graphql">Go to GraphiQL</a></p><button id="sign-out">Sign out</button></div>
<script>${script}</script></body></html>
`;
