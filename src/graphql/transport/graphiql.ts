import type { GraphiQLOptions, GraphiQLRenderer } from "graphql-yoga";
import { examples } from "./graphiql-examples.ts";

/** What GraphiQL opens with: subscriptions over sockets, and the example operations in tabs. */
export const graphiql = {
  title: "Attune",
  subscriptionsProtocol: "WS",
  defaultTabs: examples.map(({ query, variables }) => ({
    query,
    variables: variables ? JSON.stringify(variables, null, 2) : null,
  })),
} satisfies GraphiQLOptions;

// GraphiQL 5 leaves a stale offset on the tabs that it opens with, and applies it to the one that is pressed: it jumps away
// from under the pointer, so that the first click on each tab does nothing.
const tabsInPlace = "<style>.graphiql-tab { transform: none !important; }</style>";

/** Renders GraphiQL without any CDN. */
export const renderGraphiQL: GraphiQLRenderer = async (options) => {
  const { renderGraphiQL: render } = await import("@graphql-yoga/render-graphiql"); // 9 MB
  return render(options).replace("<head>", `<head>${tabsInPlace}`);
};
