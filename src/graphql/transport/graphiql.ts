import type { GraphiQLOptions, GraphiQLRenderer } from "graphql-yoga";
import { examples } from "./graphiql-examples.ts";

/** The options of GraphiQL: subscriptions over sockets, and the example operations in tabs. */
export const graphiql = {
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

/** Renders GraphiQL without any CDN. */
export const renderGraphiQL: GraphiQLRenderer = async (options) => {
  const { renderGraphiQL: render } = await import("@graphql-yoga/render-graphiql"); // 9 MB
  return render(options).replace("<head>", `<head>${tabsInPlace}`);
};
