import { invalid } from "../errors.ts";
import { checkCloudEvent, isJsonType, mostInBatch } from "../event/cloud-event.ts";
import { type CloudEventMode, cloudEventModes } from "../event/cloud-event-message.ts";
import type { Claim } from "../execution/claim.ts";
import { globalId } from "../lib/global-id.ts";
import type { Json, JsonObject } from "../lib/json.ts";

/** What an execution says of an event that it sends, where its parameters do not. */
export interface EventOrigin {
  /** The same for all attempts and retries of what a rule has started. */
  id: string;
  /** The ref of the rule's trigger; null without a rule. */
  trigger: string | null;
  traceparent: string | null;
}

/** Returns what the execution says of an event that it sends. */
export function originOf({ id, enforcement, triggerRef, traceContext }: Claim): EventOrigin {
  return {
    id: enforcement === null ? globalId("Execution", id) : globalId("Enforcement", enforcement),
    trigger: triggerRef,
    traceparent: traceContext,
  };
}

const attributes = ["id", "source", "type", "subject", "time", "dataschema", "datacontenttype"] as const;

/** Returns the mode that the parameters name, structured by default. Throws InvalidInputError. */
export function modeOf({ mode = "structured" }: JsonObject): CloudEventMode {
  const found = cloudEventModes.find((each) => each === mode);
  if (found === undefined) throw invalid("mode", `must be one of ${cloudEventModes.join(", ")}`);
  return found;
}

/**
 * Returns the CloudEvents that the parameters of `core.send_cloud_event` describe, in the JSON format: those of a batch, else one. The parameters
 * come over what a given event has, and what neither has comes from the execution. Throws InvalidInputError.
 */
export function cloudEventsOf(parameters: JsonObject, mode: CloudEventMode, origin: EventOrigin): JsonObject[] {
  const { event, events } = parameters;
  if (events !== undefined && mode !== "batch")
    throw invalid("events", 'are for the mode "batch": give `event`, or none');
  if (!Array.isArray(events)) return [eventOf(objectOf(event ?? {}, "event"), parameters, origin, "")];
  if (event !== undefined) throw invalid("event", "must not be given beside `events`");
  if (events.length > mostInBatch) throw invalid("events", `has more than ${mostInBatch} CloudEvents`);
  const { id = origin.id, data: _data, data_base64: _encoded, ...shared } = parameters;
  return events.map((each, index) => {
    const own = { ...origin, id: `${id}.${index + 1}` };
    return eventOf(objectOf(each, `events.${index}`), shared, own, `events.${index}`);
  });
}

function eventOf(event: JsonObject, parameters: JsonObject, origin: EventOrigin, at: string): JsonObject {
  const given = attributes.flatMap((name) => (parameters[name] === undefined ? [] : [[name, parameters[name]]]));
  const { data, data_base64: encoded, extensions } = parameters;
  const own = contentOf({ data, data_base64: encoded });
  const content = Object.keys(own).length > 0 ? own : contentOf(event);
  const { data: _data, data_base64: _encoded, ...rest } = event;
  const { traceparent } = origin;
  const described = { ...rest, ...Object.fromEntries(given), ...objectOf(extensions ?? {}, "extensions") };
  const implied = {
    ...{ specversion: "1.0", id: origin.id },
    ...(origin.trigger === null ? {} : { source: `/triggers/${origin.trigger}`, type: origin.trigger }),
    ...("data" in content ? { datacontenttype: "application/json" } : {}),
    ...(traceparent === null ? {} : { traceparent }),
  };
  const checked = checkCloudEvent({ ...implied, ...described, ...content }, at);
  const type = String(checked["datacontenttype"] ?? "application/json");
  if (!("data" in checked) || typeof checked["data"] === "string" || isJsonType(type)) return checked;
  throw invalid(
    [at, "data"].filter(Boolean).join("."),
    `must be a text, or else data_base64, because its type is ${type}`,
  );
}

const contentOf = ({
  data,
  data_base64: encoded,
}: { [name in "data" | "data_base64"]?: Json | undefined }): JsonObject => ({
  ...(data === undefined ? {} : { data }),
  ...(encoded === undefined || encoded === null ? {} : { data_base64: encoded }),
});

function objectOf(value: Json, at: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw invalid(at, "must be an object");
}
