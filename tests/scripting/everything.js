// A schedule that uses everything that the SDK offers, and fails on request.
import log from "incubate:plugin/log";
import metrics from "incubate:plugin/metrics";
import random from "incubate:plugin/random";
import { describe, Fault, parameter, plugin } from "./target/sdk/incubate.js";

const acts = ["tell", "refuse", "crash"];

export const description = describe(
  parameter("act", "What a rate does", "text", { default: "tell", choices: acts }),
  parameter("flag", "A boolean", "boolean", { default: false }),
  parameter("count", "An integer", "integer", { minimum: -5, maximum: 5 }),
  parameter("spare", "A number that may be left out", "number", { optional: true }),
  parameter("integers", "Integers", "integers", { default: [1, -2] }),
  parameter("numbers", "Numbers", "numbers", { default: [0.5, 2] }),
  parameter("texts", "Texts", "texts", { default: ["ä", "b"] }),
);

let asked = 0;

export const schedule = plugin({
  stepping: () => "per-update",

  rate() {
    const { act, flag, count, spare, integers, numbers, texts } = this.settings;
    if (act === "refuse") {
      throw new Fault("unsupported", "this is refused", "do not ask");
    }
    if (act === "crash") {
      return undefined.rate;
    }
    asked += 1;
    metrics.record("asked", asked);
    const told = [flag, count, spare !== undefined, integers, numbers, texts];
    log.write("info", told.flat().join(" "));
    return random.uniform();
  },

  observe() {},

  save: () => [asked],

  restore(state) {
    asked = state[0];
  },
});
