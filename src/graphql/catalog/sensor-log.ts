import { NotFoundError } from "../../errors.ts";
import { followSensorLog, readSensorLog } from "../../sensor/log.ts";
import { addLog } from "../kit/log.ts";

addLog({
  subscription: "sensorLog",
  message: "SensorLogMessage",
  of: "Sensor",
  descriptions: {
    message: "A chunk of what a sensor wrote to stderr, or of what happened to its process.",
    seq: "Its number within the sensor's log.",
    subscription: "The log of a sensor, as far as it is kept and live, in order.",
  },
  requireReadable: async (ctx, id) => {
    const found = await ctx.db.query.sensors.findFirst({ columns: { id: true }, where: { id } });
    if (!found) throw new NotFoundError("sensor", String(id));
  },
  follow: (ctx, id, after, signal) => followSensorLog(ctx.services, id, after, signal),
  read: (ctx, id, page) => readSensorLog(ctx.services.db, id, page),
});
