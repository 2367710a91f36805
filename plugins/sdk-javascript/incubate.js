// What plugins in JavaScript share: parameters, settings, faults, and the text of a crash.
// `incubate plugin build` writes this file and manifest.js, which says what plugin.toml says.
import log from "incubate:plugin/log";
import { name, version, summary } from "./manifest.js";

/** A parameter of an experiment. `kind` is boolean, integer, number, text, integers, numbers, or
 * texts. Without a `default` it is required, unless it is `optional`. */
export function parameter(name, summary, kind, limits = {}) {
  const { default: value = null, optional = false, minimum = null, maximum = null, choices = [] } = limits;
  const given = value === null ? null : { tag: kind, val: value };
  return { name, summary, kind, default: given, optional, minimum, maximum, choices };
}

/** The interface `description`. */
export function describe(...parameters) {
  return { describe: () => ({ name, version, summary, parameters }) };
}

/** Throw it to refuse a call. `code` is invalid-input, shape, element-type, budget, unsupported, or
 * internal; `hint` says what to do, if anything is known. */
export class Fault {
  constructor(code, message, hint = null) {
    Object.assign(this, { code, message, hint });
  }
}

/** The interface `loss`, `schedule`, or `partition`, from its functions as methods of an object.
 * They find the settings by name in `this.settings`. A plugin that remembers something has its own
 * `save` and `restore`. */
export function plugin(methods) {
  const self = {
    configure(settings) {
      this.settings = Object.fromEntries(settings.map(({ name, value }) => [name, value.val]));
    },
    save: () => [],
    restore(state) {
      if (state.length > 0) {
        throw new Fault("invalid-input", `a state of ${state.length} bytes, and this plugin remembers nothing`);
      }
    },
    ...methods,
  };
  const told = (name) => (...values) => {
    try {
      return self[name](...values);
    } catch (error) {
      tell(error);
      throw error;
    }
  };
  return Object.fromEntries(Object.keys(self).map((name) => [name, told(name)]));
}

/** Has the host show an error that is no fault, and where it was thrown: the plugin crashes of it. */
function tell(error) {
  if (typeof error?.code === "string") {
    return;
  }
  const place = /\(\/?(.*?)\)/.exec(error?.stack)?.[1];
  log.write("error", place ? `${error} (${place})` : String(error));
}
