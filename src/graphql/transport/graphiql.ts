import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { GraphiQLOptions, Plugin } from "graphql-yoga";
import { examples } from "./graphiql-examples.ts";

/** The options of GraphiQL: subscriptions over sockets, the example operations in tabs, and no credentials in the browser's storage. */
const options = {
  endpoint: "/graphql",
  shouldPersistHeaders: false,
  title: "Attune",
  subscriptionsProtocol: "WS",
  defaultTabs: examples.map(({ query, variables }) => ({
    query,
    variables: variables ? JSON.stringify(variables, null, 2) : null,
  })),
} satisfies GraphiQLOptions;

// GraphiQL 5 applies a stale offset to a tab when it is pressed: the tab moves away from the pointer, and the first click
// does nothing.
const tabsInPlace = "<style>.graphiql-tab { transform: none !important; }</style>";

/**
 * GraphiQL adds an empty tab at each start unless its options contain the operation of a stored tab: that of the address, if a tab has it,
 * else that of the tab that was open.
 */
const openTab = `(() => {
  try {
    const { tabs, activeTabIndex } = JSON.parse(localStorage.getItem("graphiql:tabState"));
    const linked = new URL(location.href).searchParams.get("query");
    const tab = linked === null ? tabs[activeTabIndex] : tabs.find(({ query }) => query === linked);
    return tab ? { query: tab.query, variables: tab.variables ?? undefined } : {};
  } catch {
    return {}; // nothing is stored yet
  }
})()`;

/** Returns the page of GraphiQL, without any CDN. */
async function renderPage(): Promise<string> {
  const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql"); // 9 MB
  const page = renderGraphiQL(options).replace("<head>", `<head>${tabsInPlace}`);
  const given = JSON.stringify(options);
  if (!page.includes(given)) throw new Error("the page of GraphiQL does not contain its options");
  return page.replace(given, () => `Object.assign(${given}, ${openTab})`);
}

const encodings = { br: promisify(brotliCompress), gzip: promisify(gzip) } as const;
type Encoding = keyof typeof encodings;

/** The page in the encodings that were asked for so far, and the tag of its content. */
interface Page {
  tag: string;
  body(encoding: Encoding | null): Promise<Uint8Array<ArrayBuffer>>;
}

async function createPage(): Promise<Page> {
  const plain = Buffer.from(await renderPage());
  const tag = createHash("sha256").update(plain).digest("base64url").slice(0, 22);
  const compressed = new Map<Encoding, Promise<Buffer<ArrayBuffer>>>();
  const compress = (encoding: Encoding) =>
    encoding === "br"
      ? encodings.br(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } })
      : encodings.gzip(plain, { level: 6 });
  return {
    tag,
    body: async (encoding) => {
      if (encoding === null) return plain;
      const body = compressed.get(encoding) ?? compress(encoding);
      compressed.set(encoding, body);
      return await body;
    },
  };
}

/** Returns a plugin that serves GraphiQL to browsers: compressed, and again only when it has changed. */
export function useGraphiQL(): Plugin {
  let page: Promise<Page> | null = null;
  return {
    onRequest: async ({ request, fetchAPI, endResponse }) => {
      if (request.method !== "GET" || !request.headers.get("accept")?.includes("text/html")) return;
      page ??= createPage();
      const { tag, body } = await page;
      const accepted = request.headers.get("accept-encoding") ?? "";
      const encoding = (["br", "gzip"] as const).find((name) => new RegExp(`\\b${name}\\b`).test(accepted)) ?? null;
      const etag = `"${tag}${encoding ? `-${encoding}` : ""}"`;
      const headers = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-cache",
        vary: "accept-encoding",
        etag,
        ...(encoding ? { "content-encoding": encoding } : {}),
      };
      const isKnown = request.headers.get("if-none-match")?.includes(etag) ?? false;
      endResponse(
        isKnown
          ? new fetchAPI.Response(null, { status: 304, headers })
          : new fetchAPI.Response(await body(encoding), { headers }),
      );
    },
  };
}
