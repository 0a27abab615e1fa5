import { builder } from "../kit/builder.ts";
import { SensorProcessStatus } from "../kit/enums.ts";

/** The one process of a sensor. */
export const SensorProcess = builder.drizzleObject("sensorProcesses", {
  name: "SensorProcess",
  description: "The one process of a sensor, and how it fares.",
  select: { columns: { id: true } },
  fields: (t) => ({
    status: t.expose("status", { type: SensorProcessStatus, description: "What it does." }),
    since: t.expose("since", { type: "DateTime", description: "Since when it has this status." }),
    pid: t.exposeInt("pid", { nullable: true, description: "Its id on its host; null while there is none." }),
    host: t.exposeString("host", { nullable: true, description: "The host that it runs on, or ran on last." }),
    restarts: t.exposeInt("restarts", { description: "How often it was started again after it had ended by itself." }),
    failures: t.exposeInt("failures", {
      description: "How often it has ended by itself without running for a minute in between.",
    }),
    lastError: t.exposeString("lastError", {
      nullable: true,
      description: "Why it last ended by itself or could not be started, with the end of what it wrote to stderr.",
    }),
    lastErrorAt: t.expose("lastErrorAt", { type: "DateTime", nullable: true, description: "When that was." }),
    nextStartAt: t.expose("nextStartAt", {
      type: "DateTime",
      nullable: true,
      description: "When it is started again; null unless it waits for that.",
    }),
    lastEventAt: t.expose("lastEventAt", {
      type: "DateTime",
      nullable: true,
      description: "When it last emitted an event.",
    }),
  }),
});
