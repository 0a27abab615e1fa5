import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createScratch, removeLeftScratch } from "../../src/lib/scratch.ts";

const base = mkdtempSync(join(tmpdir(), "scratch-test-"));
afterAll(() => rmSync(base, { recursive: true }));

test("a directory stays as long as its process lives, and is removed by it", async () => {
  const scratch = createScratch(base);
  writeFileSync(join(scratch.directory, "file"), "text");
  await removeLeftScratch(base);
  expect(readdirSync(scratch.directory)).toContain("file");
  scratch.remove();
  expect(readdirSync(base)).toEqual([]);
});

test("only directories that have the name and are no links are removed", async () => {
  const other = join(base, "other");
  mkdirSync(other);
  symlinkSync(other, join(base, "attune-scratch-link"));
  writeFileSync(join(base, "attune-scratch-file"), "");
  mkdirSync(join(base, "attune-scratch-dead", "execution-1"), { recursive: true });
  await removeLeftScratch(base);
  expect(readdirSync(base).sort()).toEqual(["attune-scratch-file", "attune-scratch-link", "other"]);
  expect(readdirSync(other)).toEqual([]);
  for (const name of readdirSync(base)) rmSync(join(base, name), { recursive: true });
});

test("several processes that remove and create at the same time lose no directory in use", async () => {
  for (let round = 0; round < 20; round += 1) {
    mkdirSync(join(base, `attune-scratch-dead-${round}`));
    const removing = [removeLeftScratch(base), removeLeftScratch(base)];
    const scratch = createScratch(base);
    await Promise.all(removing);
    expect(existsSync(scratch.directory)).toBe(true);
    scratch.remove();
  }
  expect(readdirSync(base)).toEqual([]);
});
