import type { ProgressEntry } from "../artifact/fields.ts";
import { type ExecutionAttempt, noteProgress } from "../artifact/keep.ts";
import type { Services } from "../db/services.ts";
import { globalId } from "../lib/global-id.ts";
import { createRest } from "../lib/loop.ts";
import type { Persist } from "../process/persist.ts";

/** At most one entry is stored in this time, in milliseconds: the newest. */
const spacingMs = 200;
const longestLine = 2000;
const longestMessage = 500;
const marker = "::progress";
const pattern = /^::progress (\d{1,3}(?:\.\d{1,6})?)(?: (.*))?$/;

/** Finds lines such as `::progress 40 copying files` in an action's output. */
export interface ProgressListener {
  /** Takes the next piece of its standard output. */
  take(text: string): void;
  /** Resolves when the last entry is stored. */
  end(): Promise<void>;
}

/** Stores the progress that an attempt reports, in the artifact `<action>/progress/<execution>`. */
export function listenForProgress(services: Services, of: ExecutionAttempt, persist: Persist): ProgressListener {
  const ref = `${of.actionRef}/progress/${globalId("Execution", of.id)}`;
  const rest = createRest();
  let line = "";
  let newest: ProgressEntry | null = null;
  let storing: Promise<void> | null = null;
  let ending = false;

  async function store(): Promise<void> {
    while (newest !== null) {
      const entry = newest;
      newest = null;
      rest.arm();
      await persist(() => noteProgress(services, of, { ref, entry })).catch((error: unknown) => {
        services.log.error({ err: error, execution: of.id }, "progress could not be stored");
      });
      if (!ending) await rest.sleep(spacingMs);
    }
    storing = null;
  }
  return {
    take: (text) => {
      const lines = `${line}${text}`;
      line = lines.slice(lines.lastIndexOf("\n") + 1).slice(0, longestLine);
      if (!lines.includes(marker)) return;
      newest =
        lines
          .split("\n")
          .slice(0, -1)
          .map(readProgress)
          .findLast((entry) => entry !== null) ?? newest;
      if (newest !== null) storing ??= store();
    },
    end: async () => {
      newest = readProgress(line) ?? newest;
      if (newest !== null) storing ??= store();
      ending = true;
      rest.end();
      await storing;
    },
  };
}

/** Returns the progress that a line reports; null when it reports none. */
function readProgress(line: string): ProgressEntry | null {
  const [, percent, message = ""] = pattern.exec(line.trimEnd()) ?? [];
  if (percent === undefined || Number(percent) > 100) return null;
  const text = message
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ")
    .toWellFormed()
    .trim();
  return { percent: Number(percent), message: text === "" ? null : text.slice(0, longestMessage).toWellFormed() };
}
