import type { z } from "zod";
import { whole } from "./setting.ts";

/** The kinds of rows that are deleted by age, with the days for which they are kept by default. `src/retention/rules.ts` has their rules. */
export const retentionDefaults = {
  notifications: 7,
  evaluations: 3,
  logs: 14,
  sensor_logs: 14,
  executions: 30,
  enforcements: 30,
  events: 30,
  inquiries: 30,
  deliveries: 7,
  delivery_ids: 365,
  pack_tests: 90,
  audit: 365,
  idempotency_keys: 1,
  tokens: 1,
  workers: 30,
} as const;
export type RetentionName = keyof typeof retentionDefaults;

/** For how many days rows are kept; 0: for ever. */
export type RetentionDays = Readonly<Record<RetentionName, number>>;

type RetentionSetting = `ATTUNE__RETENTION__${Uppercase<RetentionName>}_DAYS`;

/** Returns the setting of the days for which rows are kept. */
export const retentionSetting = (name: string) => `ATTUNE__RETENTION__${name.toUpperCase()}_DAYS` as RetentionSetting; // of a name

/** The schemas of those settings. */
export const retentionSettings = Object.fromEntries(
  Object.entries(retentionDefaults).map(([name, days]) => [retentionSetting(name), whole(0, 36_500).default(days)]),
) as Record<RetentionSetting, z.ZodDefault<ReturnType<typeof whole>>>;
