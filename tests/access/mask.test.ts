import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMask, type Secret } from "../../src/secrecy/mask.ts";

/** No marker contains a part of these: the masked text must not itself contain a secret. */
const secretText = fc
  .string({ unit: fc.constantFrom(..."abcXYZ019 +/=&%?'\"\\\n<>äß€😀-_.~"), minLength: 6, maxLength: 24 })
  .filter((text) => text.trim().length >= 6);
const secrets = fc
  .uniqueArray(secretText, { minLength: 1, maxLength: 3 })
  .map((texts) => texts.map((text, index) => ({ name: `k${index}`, text })));
const ordinary = fc.string({ unit: "grapheme", maxLength: 30 });

const base64 = (text: string | Buffer) => Buffer.from(text).toString("base64");
const hex = (text: string) => Buffer.from(text).toString("hex");
const wrapped = (text: string, width: number) => text.replaceAll(new RegExp(`(.{${width}})`, "g"), "$1\n");

/** Encodings in which an action may print its secret. */
const encoders: Readonly<Record<string, (text: string) => string>> = {
  unencoded: (text) => text,
  "JSON-escaped": (text) => JSON.stringify({ message: text }),
  "JSON-escaped, in ASCII": (text) =>
    JSON.stringify(text).replaceAll(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  "JSON in JSON": (text) => JSON.stringify(JSON.stringify(text)),
  "URL-encoded": (text) => encodeURIComponent(text),
  "URL-encoded, lower case": (text) => encodeURIComponent(text).replaceAll(/%../g, (hexed) => hexed.toLowerCase()),
  "as a form": (text) => new URLSearchParams({ token: text }).toString(),
  base64,
  "base64 without padding": (text) => base64(text).replaceAll("=", ""),
  "url-safe base64": (text) => Buffer.from(text).toString("base64url"),
  "base64 after one byte": (text) => base64(`:${text}`),
  "base64 after two bytes": (text) => base64(`::${text}`),
  "base64 between others": (text) => base64(`user:${text}:end`),
  "base64 in lines": (text) => wrapped(base64(`user:${text}`), 10),
  hex,
  "hex in upper case": (text) => hex(text).toUpperCase(),
  "hex in bytes": (text) => hex(text).replaceAll(/(..)/g, "$1 "),
  "hex in lines": (text) => wrapped(hex(text), 8),
};

/** The text in every decoding: none may contain the secret. */
function decodings(text: string): string[] {
  const runs = text.replaceAll(/[\r\n]/g, "").match(/[A-Za-z0-9+/_-]{6,}/g) ?? [];
  const digits = text.replaceAll(/[\s:]/g, "").match(/[0-9a-fA-F]{12,}/g) ?? [];
  return [
    text,
    ...runs.flatMap((run) => [0, 1, 2, 3].map((skip) => Buffer.from(run.slice(skip), "base64").toString())),
    ...digits.flatMap((run) => [0, 1].map((skip) => Buffer.from(run.slice(skip), "hex").toString())),
  ];
}

function inPieces(text: string, cuts: readonly number[]): string[] {
  const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => text.slice(from, places[index] ?? text.length));
}

function stream(given: readonly Secret[], pieces: readonly string[]): string {
  const masking = createMask(given)?.stream();
  if (!masking) throw new Error("there is nothing to mask");
  return pieces.map((piece) => masking.write(piece)).join("") + masking.end();
}

describe("a mask", () => {
  test.each(Object.entries(encoders))("finds a secret %s, wherever the text is cut", (_name, encode) => {
    fc.assert(
      fc.property(
        secrets,
        ordinary,
        ordinary,
        fc.array(fc.nat({ max: 500 }), { maxLength: 8 }),
        (given, before, after, cuts) => {
          const [{ text, name } = { text: "", name: "" }] = given;
          const written = `${before} ${encode(text)} ${after}`;
          const shown = stream(given, inPieces(written, cuts));
          expect(shown).toContain("[secret:k");
          if (!before.includes(text) && !after.includes(text)) expect(shown).not.toContain(text);
          for (const decoded of decodings(shown)) expect(decoded).not.toContain(text);
          expect(shown).toBe(stream(given, [written]));
          expect(createMask([{ name, text }])?.text(encode(text))).toContain(`[secret:${name}]`);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("leaves a text without secrets unchanged", () => {
    const cuts = fc.array(fc.nat({ max: 500 }), { maxLength: 8 });
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), cuts, (text, places) => {
        const given = [{ name: "a", text: "Not in there, I am sure" }];
        expect(stream(given, inPieces(text, places))).toBe(text);
      }),
    );
  });

  test("holds back only a suffix that may start a secret", () => {
    const masking = createMask([{ name: "a", text: "hunter22" }])?.stream();
    expect(masking?.write("the password is ")).toBe("the password is ");
    expect(masking?.write("hunt")).toBe("");
    expect(masking?.write("ing season")).toBe("hunting season");
    expect(masking?.write(" hunter")).toBe(" ");
    expect(masking?.write("22!")).toBe("[secret:a]!");
    expect(masking?.write("hun")).toBe("");
    expect(masking?.end()).toBe("hun");
    expect(masking?.write("again hunter22")).toBe("again [secret:a]");
  });

  test("shows overlapping secrets as one", () => {
    const given = [
      { name: "a", text: "abcdefgh" },
      { name: "b", text: "efghijkl" },
      { name: "c", text: "ghijklmn" },
    ];
    expect(stream(given, ["x abcdefghijklmn y"])).toBe("x [secret:a] y");
    expect(stream(given, ["abcdef", "ghabcdefgh"])).toBe("[secret:a][secret:a]");
  });

  test("masks keys, texts and numbers of a value, and returns the same value if it contains no secret", () => {
    const mask = createMask([{ name: "pin", text: "123456" }]);
    const value = { x123456: [{ n: 1234567, s: "a123456" }, true, null, 12345], ok: { a: 1 } };
    expect(mask?.json(value)).toEqual({
      "x[secret:pin]": [{ n: "[secret:pin]7", s: "a[secret:pin]" }, true, null, 12345],
      ok: { a: 1 },
    });
    const clean = { a: ["b", { c: 1 }] };
    expect(mask?.json(clean)).toBe(clean);
  });

  test("is not created for values shorter than six characters", () => {
    expect(createMask([{ name: "a", text: "12345" }])).toBeNull();
    expect(createMask([])).toBeNull();
  });

  test("masks ten megabytes in the time of some forty readings of every character", () => {
    const given = [
      { name: "a", text: "s3cr3t-Value/with+chars & more" },
      { name: "b", text: hex("another secret value") },
      { name: "c", text: base64("and a third, somewhat longer one") },
    ];
    const line = "12:00:00Z INFO step 6 of 10: copied 4096 bytes to /var/lib/some; s3cret? no. deadbeef c2VjcmV0\n";
    const pieces = Array.from({ length: 160 }, () => line.repeat(Math.ceil(65_536 / line.length)));
    // The machine may be slow, and busy with other tests: both are measured by turns, in processor time.
    const costOf = (work: () => unknown) => {
      const before = process.threadCpuUsage();
      work();
      return process.threadCpuUsage(before).user / 1000;
    };
    const hashOf = (hash: number, text: string) => {
      let value = hash;
      for (let at = 0; at < text.length; at += 1) value = (value * 31 + text.charCodeAt(at)) | 0;
      return value;
    };
    const rounds = [1, 2, 3].map(() => ({
      masking: costOf(() => expect(stream(given, pieces)).toHaveLength(pieces.join("").length)),
      reading: costOf(() => expect(pieces.reduce(hashOf, 7)).not.toBe(0)),
    }));
    const [masking = 0, reading = 0] = (["masking", "reading"] as const).map((name) =>
      Math.min(...rounds.map((round) => round[name])),
    );
    expect(masking).toBeLessThan(40 * reading);
  });
});

describe("a secret of several lines", () => {
  const lines = ["-----BEGIN KEY-----", "  first line of it", "x1", "second line of it  ", "-----END KEY-----"];
  const text = `${lines.join("\n")}\n`;
  const mask = createMask([{ name: "k", text }]);
  const leaks = (shown: string | undefined) =>
    decodings(shown ?? text).some((decoded) => lines.some((line) => line.length > 5 && decoded.includes(line.trim())));

  test.each<[string, string]>([
    ["trimmed", text.trim()],
    ["with the line ends of Windows", text.replaceAll("\n", "\r\n")],
    ["with those, trimmed", text.trim().replaceAll("\n", "\r\n")],
    ["with carriage returns", text.replaceAll("\n", "\r")],
    ["line by line", lines.map((line, index) => `${index}: ${line}`).join("\n")],
    ["line by line, trimmed", lines.map((line) => `> ${line.trim()} <`).join("\n")],
    ["line by line in JSON", JSON.stringify({ lines })],
    ["one line", `before ${lines[3]} after`],
    ["trimmed, in base64", base64(text.trim())],
    ["trimmed, after a byte in base64", base64(`:${text.trim()}`)],
    ["with other line ends in hex", hex(text.replaceAll("\n", "\r\n"))],
    ["trimmed, in a URL", encodeURIComponent(text.trim())],
    ["with other line ends in JSON", JSON.stringify(text.replaceAll("\n", "\r\n"))],
  ])("is masked %s", (_how, printed) => {
    expect(leaks(printed) || printed !== mask?.text(printed)).toBe(true);
    expect(leaks(mask?.text(printed))).toBe(false);
    for (const size of [1, 7]) {
      const pieces = printed.match(new RegExp(`.{1,${size}}`, "gs")) ?? [];
      expect(leaks(stream([{ name: "k", text }], pieces))).toBe(false);
    }
  });

  test("is masked as one where all of it is there", () => {
    expect(mask?.text(`a ${text.trim()} b`)).toBe("a [secret:k] b");
    expect(mask?.text("x1 and ordinary lines of it")).toBe("x1 and ordinary lines of it");
  });

  test("that was stored with the line ends of Windows is masked with others", () => {
    const stored = createMask([{ name: "k", text: text.replaceAll("\n", "\r\n") }]);
    expect(stored?.text(text.trim())).toBe("[secret:k]");
  });
});

test("a secret with space around it is masked without", () => {
  expect(createMask([{ name: "k", text: "  sesame-open \n" }])?.text("sesame-open")).toBe("[secret:k]");
});
