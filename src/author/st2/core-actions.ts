import type { JsonObject } from "../../lib/json.ts";
import type { ParameterMap } from "../../schema/parameter.ts";
import { Inexpressible } from "./jinja.ts";
import { entryOf } from "./source.ts";

/** An action of ours in place of one of StackStorm's core pack. */
interface CoreAction {
  ref: string;
  /** The types that constants are cast to. */
  schema: ParameterMap;
  /** Returns the parameters with the names that ours have. Throws Inexpressible. */
  rename(parameters: JsonObject): JsonObject;
}

/** Renames parameters; `null` leaves one out, and any other is refused. */
const renaming =
  (names: Readonly<Record<string, string | null>>): CoreAction["rename"] =>
  (parameters) =>
    Object.fromEntries(
      Object.entries(parameters).flatMap(([name, value]) => {
        const other = entryOf(names, name);
        if (other === undefined) throw new Inexpressible(`the parameter ${name} has no counterpart`);
        return other === null ? [] : [[other, value]];
      }),
    );

const remote =
  "Attune starts nothing on other hosts: run a worker there and select it by worker_selector, or call ssh in core.shell";
const windows = "Attune has no runner for Windows";

/** What StackStorm's core actions are here, or why they are not carried. */
export const coreActions: Readonly<Record<string, CoreAction | string>> = {
  "core.noop": { ref: "core.noop", schema: {}, rename: () => ({}) },
  "core.echo": { ref: "core.echo", schema: { message: { type: "string" } }, rename: renaming({ message: "message" }) },
  "core.pause": {
    ref: "core.sleep",
    schema: { seconds: { type: "number" } },
    rename: renaming({ max_pause: "seconds" }),
  },
  "core.http": {
    ref: "core.http_request",
    schema: { timeout: { type: "number" }, follow_redirects: { type: "boolean" }, headers: { type: "object" } },
    rename: renaming({
      ...{ url: "url", method: "method", headers: "headers", body: "body", timeout: "timeout" },
      allow_redirects: "follow_redirects",
    }),
  },
  "core.ask": "write the question, its schema and its assignee for core.inquire",
  "core.local_sudo": "use core.shell with a command that calls sudo",
  "core.remote": remote,
  "core.remote_sudo": remote,
  "core.winrm_cmd": windows,
  "core.winrm_ps_cmd": windows,
  "core.sendmail": "Attune sends no mail: call a program such as sendmail in core.shell, with args",
  "core.announcement": "Attune has no announcements",
  "core.inject_trigger": "emit an event over the API: createEvent",
  "core.uuid": "call uuidgen in core.shell",
};
