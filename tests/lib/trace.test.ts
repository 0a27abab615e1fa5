import { expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { attemptContext, formatTraceparent, newContext, parseTraceparent } from "../../src/lib/trace.ts";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const spanId = "00f067aa0ba902b7";

test.each([
  [`00-${traceId}-${spanId}-01`, { traceId, spanId, sampled: true }],
  [`00-${traceId}-${spanId}-00`, { traceId, spanId, sampled: false }],
  [`00-${traceId}-${spanId}-03`, { traceId, spanId, sampled: true }],
  [`cc-${traceId}-${spanId}-01-what-a-later-version-adds`, { traceId, spanId, sampled: true }],
  [`00-${traceId}-${spanId}-01-more`, null],
  [`ff-${traceId}-${spanId}-01`, null],
  [`00-${"0".repeat(32)}-${spanId}-01`, null],
  [`00-${traceId}-${"0".repeat(16)}-01`, null],
  [`00-${traceId.toUpperCase()}-${spanId}-01`, null],
  [`00-${traceId}-${spanId}`, null],
  [` 00-${traceId}-${spanId}-01`, null],
  ["", null],
  [null, null],
])("the header %j is read", (header, context) => {
  expect(parseTraceparent(header)).toEqual(context);
  if (context) expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
});

test("an attempt has the same context in every process, and another one than other attempts", () => {
  const parent = newContext(null);
  const first = attemptContext(parent, { id: "7", attempt: 1 });
  expect(attemptContext({ ...parent }, { id: "7", attempt: 1 })).toEqual(first);
  expect(first).toMatchObject({
    traceId: parent.traceId,
    sampled: true,
    spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
  });
  expect(attemptContext(parent, { id: "7", attempt: 2 }).spanId).not.toBe(first.spanId);
  expect(newContext(parent)).toMatchObject({ traceId: parent.traceId });
});

test.each([
  [{}, null],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318/" }, "http://collector:4318/v1/traces"],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://a", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://b/t" }, "http://b/t"],
])("the address for traces is read from %j", (env, url) => {
  expect(readConfig({ PATH: "/bin", ...env }, false).traces).toEqual(url && { url, service: "attune" });
});

test("an address that is none is refused", () => {
  expect(() => readConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" }, false)).toThrow(
    'OTEL_EXPORTER_OTLP_ENDPOINT is wrong: must be a URL such as http://collector:4318; it is "collector:4317".',
  );
});
