import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { isPublic } from "../../src/lib/network.ts";
import { createReach, sendRequest } from "../../src/worker/http.ts";
import { createWorld, type Part, type World } from "../support/world.ts";

let world: World;

beforeAll(async () => {
  world = await createWorld();
});
afterAll(async () => await world[Symbol.asyncDispose]());

/** A server on every address of this machine that keeps the requests which it gets. */
async function listen(handle: RequestListener) {
  const requests: { request: IncomingMessage; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    requests.push({ request, body });
    handle(request, response);
  }).listen(0);
  await once(server, "listening");
  let connections = 0;
  server.on("connection", () => {
    connections += 1;
  });
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function send(parameters: JsonObject) {
  const { status, result, error } = await world.ended(await world.execute("core.http_request", parameters));
  return { status, data: result?.["data"] as JsonObject | undefined, error };
}

const redirectTo =
  (location: () => string, status = 302): RequestListener =>
  (_request, response) =>
    response.writeHead(status, { location: location() }).end();

describe("without a setting", () => {
  let worker: Part;
  beforeAll(async () => {
    worker = await world.startWorker();
  });
  afterAll(async () => await worker.stop());

  test("addresses that are not public are refused in every spelling, before a connection", async () => {
    await using server = await listen((_request, response) => response.end("internal"));
    const hosts =
      `127.0.0.1 127.1 2130706433 0x7f000001 017700000001 0177.0.0.1 0x7f.1 127.0.0.1. 127.255.255.254 localhost LOCALHOST
      %6cocalhost ①②⑦.⓪.⓪.① 0.0.0.0 0 [::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::127.0.0.1]
      [64:ff9b::a9fe:a9fe] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:0:0:0:0:80ff:fffe] 10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1
      100.64.0.1 198.18.0.1 224.0.0.1 255.255.255.255 169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192 [fd00:ec2::254] [fe80::1]
      [ff02::1] [fec0::1]`.split(/\s+/);
    const sent = await Promise.all(hosts.map((host) => send({ url: `http://${host}:${server.port}/`, timeout: 5 })));
    const outcomes = sent.map(({ error }, index) => [hosts[index], error?.code]);
    expect(outcomes).toEqual(hosts.map((host) => [host, "ADDRESS_REFUSED"]));
    expect(server.connections()).toBe(0);
    expect(sent[0]?.error?.message).toContain("ATTUNE__WORKER__HTTP_ALLOW");
  });

  test("what is no request of the web is refused", async () => {
    await using server = await listen((_request, response) => response.end("internal"));
    const { port } = server;
    for (const url of [
      `http://user:s3cret@localhost:${port}/`,
      `http://localhost.:${port}/`,
      `http://user:pass%2Fs3cret@localhost:${port}/`,
      `http://user:pass/s3cret@localhost:${port}/`,
      "http:///",
      "http://[::1",
      "http://a b/",
    ]) {
      const { error } = await send({ url });
      expect(error?.code).toMatch(/REQUEST_FAILED|ADDRESS_REFUSED/);
      expect(error?.message).not.toContain("s3cret");
    }
    expect(server.connections()).toBe(0);
  });
});

test("public addresses are not refused", () => {
  for (const address of [
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "64:ff9b::101:101",
  ]) {
    expect([address, isPublic(address)]).toEqual([address, true]);
  }
});

describe("with allowed hosts and networks", () => {
  let worker: Part;
  beforeAll(async () => {
    worker = await world.startWorker(10, 5000, ["127.0.0.0/31", "LocalHost"]);
  });
  afterAll(async () => await worker.stop());

  test("a number that would be changed leaves the body as text", async () => {
    const bodies = ['{"id":12345678901234567890}', '{"id":123}'];
    await using server = await listen((_request, response) =>
      response.writeHead(200, { "content-type": "application/json" }).end(bodies.shift()),
    );
    const url = `http://127.0.0.1:${server.port}/`;
    expect((await send({ url })).data?.["body"]).toBe('{"id":12345678901234567890}');
    expect((await send({ url })).data?.["body"]).toEqual({ id: 123 });
  });

  test("those are reached, and no others", async () => {
    await using server = await listen((_request, response) => response.end("internal"));
    for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"]) {
      expect([host, (await send({ url: `http://${host}:${server.port}/` })).data?.["body"]]).toEqual([
        host,
        "internal",
      ]);
    }
    for (const host of ["127.0.0.2", "[::1]"]) {
      expect([host, (await send({ url: `http://${host}:${server.port}/` })).error?.code]).toEqual([
        host,
        "ADDRESS_REFUSED",
      ]);
    }
  });

  test("a redirect is checked like the first address", async () => {
    let target = "";
    await using server = await listen((request, response) => {
      if (request.url === "/") redirectTo(() => target)(request, response);
      else response.end("reached");
    });
    const url = `http://127.0.0.1:${server.port}/`;
    for (const host of ["127.0.0.2", "[::1]", "2130706434", "0"]) {
      target = `http://${host}:${server.port}/internal`;
      expect([host, (await send({ url })).error?.code]).toEqual([host, "ADDRESS_REFUSED"]);
    }
    target = "file:///etc/passwd";
    expect((await send({ url })).error?.message).toContain("http");
    target = "/internal";
    expect((await send({ url })).data?.["body"]).toBe("reached");
    target = "/";
    expect((await send({ url })).error?.message).toContain("more than 20 redirects");
    expect((await send({ url, follow_redirects: false, expect_status: [302] })).data).toMatchObject({ status: 302 });
  });

  test("headers that look like credentials are not sent on to another host or port", async () => {
    let target = "";
    await using other = await listen((_request, response) => response.end("other"));
    await using first = await listen((request, response) => {
      if (request.url === "/same") response.end("same");
      else redirectTo(() => target, 307)(request, response);
    });
    const secret = [
      "authorization",
      "Cookie",
      "Proxy-Authorization",
      "x-api-key",
      "X-Auth-Token",
      "private-token",
      "x-client-secret",
    ];
    const headers = Object.fromEntries([...secret, "x-trace"].map((name) => [name, "s3cr3t"]));
    const request = { method: "POST", url: `http://127.0.0.1:${first.port}/`, headers, body: { a: 1 } };

    target = `http://127.0.0.1:${first.port}/same`;
    await send(request);
    expect(Object.keys(first.requests[1]?.request.headers ?? {})).toEqual(
      expect.arrayContaining(secret.map((name) => name.toLowerCase())),
    );
    for (target of [`http://127.0.0.1:${other.port}/`, `http://localhost:${first.port}/same`]) {
      expect((await send(request)).status).toBe("completed");
    }
    for (const received of [other.requests[0], first.requests.at(-1)]) {
      expect(received).toMatchObject({
        body: '{"a":1}',
        request: { method: "POST", headers: { "x-trace": "s3cr3t" } },
      });
      expect(JSON.stringify(received?.request.rawHeaders).match(/s3cr3t/g)).toHaveLength(1);
    }
  });

  test("a secret is not sent on in any header, nor in a body", async () => {
    await using other = await listen((_request, response) => response.end("other"));
    await using first = await listen(redirectTo(() => `http://127.0.0.1:${other.port}/`, 307));
    const redirected = (body: string) =>
      sendRequest(
        {
          ...{ method: "POST", url: `http://127.0.0.1:${first.port}/`, body, cause: "v1.1.x", follow: true },
          headers: { "x-given": "the s3cr3t", "x-trace": "1" },
          holdsSecret: (text) => text.includes("s3cr3t"),
          signal: AbortSignal.timeout(5000),
        },
        createReach(["127.0.0.1"]),
      );
    await redirected("plain");
    expect(other.requests[0]?.request.headers["x-trace"]).toBe("1");
    expect(other.requests[0]?.request.headers).not.toHaveProperty("x-given");
    await expect(redirected("a s3cr3t")).rejects.toThrow("to another origin");
    expect(other.requests).toHaveLength(1);
  });

  test("a redirected POST becomes a GET without a body, except where the status keeps it", async () => {
    let status = 0;
    await using server = await listen((request, response) => {
      if (request.url === "/") redirectTo(() => "/next", status)(request, response);
      else response.end();
    });
    for (status of [301, 302, 303, 307, 308]) {
      await send({
        method: "POST",
        url: `http://127.0.0.1:${server.port}/`,
        body: "text",
        headers: { "content-type": "a/b" },
      });
      const { request, body } = server.requests.at(-1) ?? { request: null, body: null };
      const kept = status > 303;
      expect([request?.method, body, request?.headers["content-type"]]).toEqual(
        kept ? ["POST", "text", "a/b"] : ["GET", "", undefined],
      );
    }
  });

  test("every cookie is kept, and a body is read in its charset", async () => {
    await using server = await listen((_request, response) =>
      response
        .writeHead(200, { "content-type": "text/html; charset=ISO-8859-1", "set-cookie": ["a=1; Path=/", "b=2, c"] })
        .end(Buffer.from("Zürich", "latin1")),
    );
    const { data } = await send({ url: `http://localhost:${server.port}/` });
    expect(data?.["headers"]).toMatchObject({ "set-cookie": ["a=1; Path=/", "b=2, c"] });
    expect(data?.["body"]).toBe("Zürich");
  });

  test("a body is decoded, and bounded after decoding", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    await using server = await listen((request, response) => {
      if (request.url === "/endless") {
        const more = () => {
          while (response.write(Buffer.alloc(65_536)));
        };
        response.on("drain", more);
        return more();
      }
      response.setHeader("content-encoding", "gzip");
      response.end(request.url === "/bomb" ? bomb : gzipSync("text"));
    });
    const url = `http://127.0.0.1:${server.port}`;
    expect((await send({ url })).data?.["body"]).toBe("text");
    expect((await send({ url, method: "HEAD" })).data).toMatchObject({ status: 200, body: "" });
    for (const path of ["bomb", "endless"]) {
      expect((await send({ url: `${url}/${path}` })).error?.message).toContain("longer than 1048576 bytes");
    }
  });

  test("framing is the client's, whatever headers a rule gives", async () => {
    await using server = await listen((_request, response) => response.end());
    const headers = { "content-length": "1", "transfer-encoding": "chunked", connection: "upgrade", upgrade: "h2c" };
    await send({ method: "DELETE", url: `http://127.0.0.1:${server.port}/`, headers, body: "four" });
    expect(server.requests[0]?.body).toBe("four");
    expect(server.requests[0]?.request.headers).toMatchObject({ "content-length": "4", connection: "close" });
  });

  test("a response that does not come ends with the time limit", async () => {
    await using server = await listen(() => {});
    const { error } = await send({ url: `http://127.0.0.1:${server.port}/`, timeout: 0.2 });
    expect(error).toMatchObject({ code: "REQUEST_FAILED", message: expect.stringContaining("within 0.2 s") });
  });
});
