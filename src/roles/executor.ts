import type { Services } from "../db/services.ts";
import { startAdmissions } from "../executor/admissions.ts";
import { startEvents } from "../executor/events.ts";
import { startInquiries } from "../executor/inquiries.ts";
import { startPlatformEvents } from "../executor/platform.ts";
import { startPresence } from "../executor/presence.ts";
import { startRetention } from "../executor/retention.ts";
import { startSweep } from "../executor/sweep.ts";
import { startWindows } from "../executor/windows.ts";
import { createRuleSets } from "../rule/ruleset.ts";

const sweepMs = 15_000;
const retentionMs = 60_000;

/**
 * Starts the role `executor`, which evaluates events, decides about windows, expires inquiries, admits what waits for a time, notes that the
 * database is there, makes events of the platform's own life, deletes what is old, and sweeps every `everyMs` milliseconds.
 */
export function startExecutor(services: Services, everyMs = sweepMs): AsyncDisposable {
  const parts = new AsyncDisposableStack();
  const ruleSets = createRuleSets();
  parts.use(startEvents(services, ruleSets));
  parts.use(startWindows(services, ruleSets.owners));
  parts.use(startPresence(services));
  parts.use(startSweep(services, everyMs));
  parts.use(startRetention(services, retentionMs));
  parts.use(startInquiries(services));
  parts.use(startAdmissions(services));
  parts.use(startPlatformEvents(services));
  return parts;
}
