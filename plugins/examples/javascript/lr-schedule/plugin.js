// Learning-rate schedule `poly`: end_rate + (base_rate - end_rate) * (1 - epoch / epochs)^power.
import { describe, parameter, plugin } from "./target/sdk/incubate.js";

export const description = describe(
  parameter("power", "The power of the decay; 1 is a straight line", "number", { default: 1, minimum: 0 }),
  parameter("end_rate", "The rate at the end of the phase", "number", { default: 0, minimum: 0 }),
);

export const schedule = plugin({
  stepping: () => "per-epoch",

  rate({ epoch, epochs, baseRate }) {
    const { power, end_rate: endRate } = this.settings;
    return endRate + (baseRate - endRate) * (1 - epoch / epochs) ** power;
  },

  observe(moment, metrics) {},
});
